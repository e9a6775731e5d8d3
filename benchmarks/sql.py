"""The marts on 1, 10 and 100 million rows of feature_transport, all collections at once and one collection.

Against a limit of one second at 10 million rows, and the main aggregate of ``transport_map`` against polars on the same
files. The rows are those of one made-up study, and hard links to its files in the folders of other collections.
``feature_profile`` has a row for each row of feature_transport: all of it is never asked for, so it is measured as the
profile of one feature and, without a target, of one collection. Marts are materialised, as flows leave them; how long one
collection takes, and the same marts computed from the tables, are measured beside them.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib import resources
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.generated.pairs import METHODS, SOURCES, TARGETS
from benchmarks.generated.studies import add_studies, study_key, write_study
from benchmarks.measurement import Measurement, plain, speedup, within
from benchmarks.program import run
from benchmarks.timing import median_seconds, seconds, side_by_side
from warehouse.catalog import catalog
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.marts import MATERIALISED
from warehouse.catalog.materialise import materialise
from warehouse.catalog.query import run_select
from warehouse.storage.warehouse import Warehouse

ROW_BY_ROW = "feature_profile"
ONE = "where collection = 'model-corpus-00000000'"
ONE_FEATURE = f"{ONE} and sae = 'sae-layer{TARGETS[0]}' and feature_id = 7"
LIMIT = 1.0
"""Seconds."""
WHY_MISSED = "its rows lie in a file a collection, or it reads few rows of such files: what is left is decoding"
Times = dict[str, float]


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures at each size; the largest is left to the marts that keep to the limit at the one before."""
    n_features, counts = (200, (1, 2)) if quick else (20_000, (1, 10, 100))
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder, "warehouse"))
        study, made = write_study(warehouse, n_features), 1
        marts = sorted(f.name.removesuffix(".sql") for f in resources.files("warehouse").joinpath("sql").iterdir())
        marts.remove(ROW_BY_ROW)
        for count in counts:
            add_studies(warehouse, study, range(made, count))
            made, n_rows = count, count * n_features * len(METHODS) * len(SOURCES) * len(TARGETS)
            size = f"{n_rows / 1e6:g}M rows in {count} collection{'s' * (count > 1)}"
            yield from _materialising(warehouse, count, size)
            yield from _opening(warehouse, size)
            times = _seconds_of(warehouse, marts, rounds=1 if quick else 2)
            yield from (plain(f"{mart}, {size}", "s", taken) for mart, taken in times.items())
            if count == counts[1]:
                yield from _at_the_limit(warehouse, times, marts, size)
                yield from _against_tables(warehouse, times, size)
                yield _against_polars(warehouse, size)
                marts = [mart for mart in marts if times[mart] < LIMIT]


def _materialising(warehouse: Warehouse, count: int, size: str) -> Iterator[Measurement]:
    """What the end of a flow takes: of a collection with new results, and of one without."""
    taken = [seconds(lambda: materialise(warehouse, study_key(number)))[0] for number in range(count)]  # noqa: B023
    yield plain(f"materialising the marts of one collection, {size}", "s", taken[-1])
    again = median_seconds(lambda: materialise(warehouse, study_key(0)))
    yield plain(f"finding that a collection is materialised, {size}", "s", again)


def _against_tables(warehouse: Warehouse, times: Times, size: str) -> Iterator[Measurement]:
    """The materialised marts that have rows here beside the same marts computed from the tables."""
    stored = connect(warehouse)
    marts = [mart for mart in MATERIALISED if run_select(stored, f"from {mart} limit 1").fetchall()]
    with patch.object(catalog, "MATERIALISED", ()):
        computed = _seconds_of(warehouse, marts)
    for mart, taken in computed.items():
        yield speedup(f"{mart} from its files, all of {size}", times[mart], "computed from the tables", taken)


def _opening(warehouse: Warehouse, size: str) -> Iterator[Measurement]:
    """A process parses every manifest once; later connections find them parsed."""
    yield plain(f"first connection, {size}", "s", seconds(lambda: connect(warehouse))[0])
    yield plain(f"further connection, {size}", "s", median_seconds(lambda: connect(warehouse)))
    yield plain(f"one look-up by the program, {size}", "s", median_seconds(lambda: rows(warehouse, "from collections")))


def _seconds_of(warehouse: Warehouse, marts: list[str], where: str = "", rounds: int = 2) -> Times:
    """Time of each mart, all of its rows computed and kept."""
    connection = connect(warehouse)
    return {mart: median_seconds(lambda: run_select(connection, f"from {mart} {where}"), rounds) for mart in marts}  # noqa: B023


def _of_a_collection(warehouse: Warehouse, marts: list[str]) -> list[str]:
    """Marts whose rows are each of one collection."""
    columns = connect(warehouse).execute("select table_name from duckdb_columns() where column_name = 'collection'")
    of_one = {name for (name,) in columns.fetchall()} - {"stage_overview"}
    return [mart for mart in marts if mart in of_one]


def _at_the_limit(warehouse: Warehouse, times: Times, marts: list[str], size: str) -> Iterator[Measurement]:
    ordered = sorted(times, key=lambda mart: times[mart], reverse=True)
    for place, mart in zip(("slowest", "second", "third", "fourth"), ordered):
        what = f"{place} mart ({mart}), all of {size}"
        yield within(what, "s", times[mart], at_most=LIMIT, why_missed=WHY_MISSED)
    one = _seconds_of(warehouse, _of_a_collection(warehouse, marts), ONE)
    slowest = max(one, key=lambda mart: one[mart])
    yield within(f"slowest mart ({slowest}), one collection of {size}", "s", one[slowest], at_most=LIMIT)
    profile = _seconds_of(warehouse, [ROW_BY_ROW], ONE_FEATURE)[ROW_BY_ROW]
    yield within(f"{ROW_BY_ROW} of one feature, {size}", "s", profile, at_most=LIMIT)
    whole = _seconds_of(warehouse, [ROW_BY_ROW], ONE)[ROW_BY_ROW]
    yield plain(f"{ROW_BY_ROW}, all rows of one collection of {size}", "s", whole)


def _against_polars(warehouse: Warehouse, size: str) -> Measurement:
    """The averages of ``transport_map`` over all features, from the same files."""
    import polars as pl

    keys = ["collection", "evaluation", "sae", "operator"]
    means = ["r2", "r2_low", "r2_high", "skill", "ceiling"]

    def polars() -> pl.DataFrame:
        scored = pl.scan_parquet(f"{warehouse.root}/feature_transport/**/*.parquet", hive_partitioning=True)
        averages = [pl.col(name).filter(pl.col("r2").is_not_null()).mean().alias(f"mean_{name}") for name in means]
        shares = [
            (pl.col("r2").is_not_null() & (pl.col("verdict") == verdict)).sum().alias(verdict)
            for verdict in ("transported", "computed", "undetermined")
        ]
        median = pl.col("r2").median().alias("median_r2")
        return scored.group_by(keys).agg(pl.len(), *averages, *shares, median).sort(keys).collect()

    aggregate = f"""select {", ".join(keys)}, count(*) as len,
        {", ".join(f"avg({name}) filter (where r2 is not null) as mean_{name}" for name in means)},
        count(*) filter (where r2 is not null and verdict = 'transported') as transported,
        count(*) filter (where r2 is not null and verdict = 'computed') as computed,
        count(*) filter (where r2 is not null and verdict = 'undetermined') as undetermined,
        median(r2) as median_r2 from feature_transport group by all order by all"""
    connection = connect(warehouse)
    ours = partial(run_select, connection, aggregate)
    found, expected = ours().pl(), polars()
    for name in ("len", "transported", "median_r2", *(f"mean_{name}" for name in means)):
        apart = np.abs(found[name].to_numpy() - expected[name].to_numpy()).max()
        assert apart < 1e-9, f"{name} differs by {apart:.1e} from that of polars"
    mine, theirs = side_by_side(ours, polars)
    return speedup(f"averages of each operator, {size}", mine, "polars on the same files", theirs)


if __name__ == "__main__":
    sys.exit(run("sql", measure, __doc__))
