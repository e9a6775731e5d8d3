/* What the published site takes from npm, as one module; `python -m tools.browser_libraries` bundles it. */

export { AsyncDuckDB, VoidLogger } from "@duckdb/duckdb-wasm";
export { default as startParquet, readParquet } from "parquet-wasm/esm";
export { default as embedChart } from "vega-embed";
