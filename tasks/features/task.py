"""Stages ``features`` and ``feature_scores``: test-split statistics of every SAE feature; scores, selection, examples."""

from typing import Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.features.stats import ActivationStatistics, FeatureStats
from ato.residuals import run_pass
from tasks.collect.sources import collection_row, residual_source
from tasks.engine.model_cache import language_model
from tasks.engine.parallel_parts import divided, run_parts
from tasks.engine.progress import say
from tasks.engine.stage import Stage, checked_together, one_at_a_time
from tasks.features.scoring import (
    Scoring,
    TokenTexts,
    ablate,
    announce,
    example_columns,
    illustrate,
    look,
    score_columns,
    select,
)
from tasks.saes.task import device_of_saes, load_judged_sae, sae_rows
from tasks.settings import EvaluateSettings, FeatureSettings, ModelSettings
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.parquet import null_where, null_where_nan
from warehouse.storage.warehouse import Warehouse

EDITED_SITE = "resid_post"
"""Ablation edits the residual stream: SAEs of another site have no causal effect."""


@task(name="features", cache_policy=NO_CACHE)
@one_at_a_time("features")
def measure_features(collection: str, sae_keys: list[str], model: ModelSettings, parts: int = 1) -> None:
    """One pass over the test split for all SAEs that have no statistics yet.

    Args:
        parts: tasks that share the SAEs, each with a pass of its own; 1 does all of it here.
    """
    warehouse = Warehouse()
    missing = [key for key in sae_keys if not _statistics_stage(warehouse, collection, key).skip()]
    if missing and parts > 1:
        run_parts("features", measure_share, _shares(missing, parts), collection, model)
    elif missing:
        _measure(missing, collection, model)


@task(name="features, part", cache_policy=NO_CACHE)
def measure_share(sae_keys: list[str], collection: str, model: ModelSettings) -> None:
    """Statistics of the features of these SAEs, those left out that an attempt before this one completed."""
    if missing := [key for key in sae_keys if not _statistics_stage(Warehouse(), collection, key).complete]:
        _measure(missing, collection, model)


def _shares(keys: list[str], parts: int) -> list[list[str]]:
    return [[keys[i] for i in numbers] for numbers in divided(len(keys), parts)]


def _measure(missing: list[str], collection: str, model: ModelSettings) -> None:
    warehouse = Warehouse()
    stages = {key: _statistics_stage(warehouse, collection, key) for key in missing}
    found = {row["sae"]: row for row in sae_rows(warehouse, missing)}
    device = device_of_saes(model)
    stats = {key: FeatureStats(load_judged_sae(warehouse, row).to(device), row["layer"]) for key, row in found.items()}
    source = residual_source(warehouse, collection_row(warehouse, collection), model)
    layers = sorted({row["layer"] for row in found.values()})
    n_tokens = run_pass(source, list(stats.values()), layers=layers, splits=["test"])
    with checked_together():
        for key, row in found.items():
            with stages[key] as stage:
                result = stats[key].result()
                stage.write("feature_stats", _columns(result, collection, row), sae=key)
            active = int((result.n_active > 0).sum())
            say("features", f"{key}: {active:,} of {row['d_sae']:,} features active on {n_tokens:,} test tokens")


@task(name="score features", cache_policy=NO_CACHE)
@one_at_a_time("features")
def score_features(
    collection: str,
    sae_keys: list[str],
    model: ModelSettings,
    settings: FeatureSettings,
    evaluate: EvaluateSettings,
    parts: int = 1,
) -> None:
    """Score, select and illustrate the features of all SAEs that have no scores under these settings yet.

    Train text gives the components and the examples, validation text the causal effect; the test split is not
    looked at, so that what is selected has not seen it.

    Args:
        parts: tasks that share the SAEs, each with passes of its own; 1 does all of it here.
    """
    warehouse = Warehouse()
    missing = [key for key in sae_keys if not _scoring_stage(warehouse, collection, key, settings, evaluate).skip()]
    if missing and parts > 1:
        run_parts("features", score_share, _shares(missing, parts), collection, model, settings, evaluate)
    elif missing:
        _score(missing, collection, model, settings, evaluate)


@task(name="score features, part", cache_policy=NO_CACHE)
def score_share(
    sae_keys: list[str], collection: str, model: ModelSettings, settings: FeatureSettings, evaluate: EvaluateSettings
) -> None:
    """Scores of the features of these SAEs, those left out that an attempt before this one completed."""
    stages = {key: _scoring_stage(Warehouse(), collection, key, settings, evaluate) for key in sae_keys}
    if missing := [key for key, stage in stages.items() if not stage.complete]:
        _score(missing, collection, model, settings, evaluate)


def _score(
    missing: list[str], collection: str, model: ModelSettings, settings: FeatureSettings, evaluate: EvaluateSettings
) -> None:
    warehouse = Warehouse()
    stages = {key: _scoring_stage(warehouse, collection, key, settings, evaluate) for key in missing}
    row = collection_row(warehouse, collection)
    source = residual_source(warehouse, row, model)
    scorings = [Scoring.of(warehouse, found, device_of_saes(model)) for found in sae_rows(warehouse, missing)]
    lm = language_model(model)
    tokens = look(scorings, source, lm, settings)
    tokens_run = 0
    if row["site"] == EDITED_SITE:
        held_out = stored_sequences(warehouse, collection, splits=["val"])
        median_norm = dict(zip(row["layers"], row["median_norm"]))
        tokens_run = ablate(scorings, held_out, lm, median_norm, settings, evaluate)
    else:
        say("features", f"no causal effect of features of {row['site']}: only the residual stream is edited")
    select(scorings, settings)
    sequences = {q.sequence_id: q for q in stored_sequences(warehouse, collection, splits=["train"])}
    illustrate(scorings, tokens, source, {number: len(q.token_ids) for number, q in sequences.items()}, settings)
    texts = TokenTexts(lm.tokenizer)
    with checked_together():
        for scoring in scorings:
            with stages[scoring.key] as stage:
                keys = {"collection": collection, "scoring": stage.key, "sae": scoring.key, "layer": scoring.layer}
                scores, examples = score_columns(scoring, texts), example_columns(scoring, sequences, texts)
                for table, columns in (("feature_scores", scores), ("feature_examples", examples)):
                    constants = {name: [value] * len(columns["feature_id"]) for name, value in keys.items()}
                    stage.write(table, columns | constants, sae=scoring.key)
                stage.tokens_run = tokens_run
            announce(scoring, texts)


def selected_features(warehouse: Warehouse, collection: str, sae_key: str) -> np.ndarray:
    """Feature ids [s] int64 that the latest scoring of an SAE selected, best first; empty if there is none."""
    found = rows(
        warehouse,
        """select feature_id from feature_scores as f
        semi join latest_evaluations as l on l.kind = 'feature_scores' and l.is_latest and l.evaluation = f.scoring
        where collection = ? and sae = ? and selected order by rank""",
        [collection, sae_key],
    )
    return np.array([row["feature_id"] for row in found], dtype=np.int64)


def _statistics_stage(warehouse: Warehouse, collection: str, sae_key: str) -> Stage:
    slug = f"features-{sae_key[:-9]}"
    return Stage(warehouse, "features", slug, settings={}, inputs=[sae_key], collection=collection)


def _scoring_stage(
    warehouse: Warehouse, collection: str, sae_key: str, settings: FeatureSettings, evaluate: EvaluateSettings
) -> Stage:
    own = settings.model_dump(exclude={"score"})
    own |= {"n_bootstrap": evaluate.n_bootstrap, "bootstrap_seed": evaluate.bootstrap_seed}
    slug = f"scores-{sae_key[:-9]}"
    return Stage(warehouse, "feature_scores", slug, settings=own, inputs=[sae_key], collection=collection)


def _columns(result: ActivationStatistics, collection: str, row: dict[str, Any]) -> dict[str, Any]:
    """Accumulator columns as table columns: what a silent feature has no value for is NULL."""
    silent = result.n_active == 0
    columns = dict(vars(result))
    for name in ("mean_activation", "std_activation", "max_activation"):
        columns[name] = null_where_nan(columns[name])
    for name in ("max_sequence_id", "max_position"):
        columns[name] = null_where(columns[name], silent)
    n = len(silent)
    constants = {"collection": collection, "sae": row["sae"], "layer": row["layer"]}
    return columns | {name: [value] * n for name, value in constants.items()}
