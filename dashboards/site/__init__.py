"""The study as a static site: pages declared in Python, run in the browser over Parquet files by DuckDB-WASM."""
