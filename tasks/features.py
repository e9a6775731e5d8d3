"""Stage ``features``: activation statistics of every feature of every SAE over the test split."""

from typing import Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.feature_stats import FeatureStats
from ato.residuals import share_pass
from tasks.progress import say
from tasks.saes import load_judged_sae, sae_rows
from tasks.settings import ModelSettings
from tasks.sources import collection_row, residual_source
from tasks.stage import Stage
from warehouse.store import Warehouse
from warehouse.writing import null_where, null_where_nan


@task(name="features", cache_policy=NO_CACHE)
def measure_features(collection: str, sae_keys: list[str], model: ModelSettings) -> None:
    """One pass over the test split for all SAEs that have no statistics yet."""
    warehouse = Warehouse()
    stages = {
        key: Stage(warehouse, "features", f"features-{key[:-9]}", settings={}, inputs=[key], collection=collection)
        for key in sae_keys
    }
    missing = [key for key, stage in stages.items() if not stage.skip()]
    if not missing:
        return
    found = {row["sae"]: row for row in sae_rows(warehouse, missing)}
    stats = {key: FeatureStats(load_judged_sae(warehouse, row), row["layer"]) for key, row in found.items()}
    source = residual_source(warehouse, collection_row(warehouse, collection), model)
    layers = sorted({row["layer"] for row in found.values()})
    n_tokens = share_pass(source, list(stats.values()), layers=layers, splits=["test"])
    for key, row in found.items():
        with stages[key] as stage:
            result = stats[key].result()
            stage.write("feature_stats", _columns(result, collection, row), sae=key)
        active = int((result["n_active"] > 0).sum())
        say("features", f"{key}: {active:,} of {row['d_sae']:,} features active on {n_tokens:,} test tokens")


def _columns(result: dict[str, np.ndarray], collection: str, row: dict[str, Any]) -> dict[str, Any]:
    """Accumulator columns as table columns: what a silent feature has no value for is NULL."""
    silent = result["n_active"] == 0
    columns: dict[str, Any] = dict(result)
    for name in ("mean_activation", "std_activation", "max_activation"):
        columns[name] = null_where_nan(result[name])
    for name in ("max_sequence_id", "max_position"):
        columns[name] = null_where(result[name], silent)
    n = len(silent)
    constants = {"collection": collection, "sae": row["sae"], "layer": row["layer"]}
    return columns | {name: [value] * n for name, value in constants.items()}
