"""Stages ``features`` and ``feature_scores``: test-split statistics of every SAE feature; scores, selection, examples."""

from typing import Any

from ato.features.stats import ActivationStatistics, FeatureStats
from ato.residuals import run_pass
from ato.text.token_texts import TokenTexts
from tasks.collect.sources import residual_source
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.model_cache import language_model, sae_device
from tasks.engine.parallel_parts import part_task, run_parts, split_evenly
from tasks.engine.progress import phase, say
from tasks.engine.stage import Stage, checked_together
from tasks.engine.study import Study
from tasks.features.scoring import (
    Scoring,
    ablate,
    announce,
    collect_examples,
    compute_components,
    example_columns,
    score_columns,
    select,
)
from tasks.saes.task import load_judged_sae
from tasks.settings import FeatureSettings
from warehouse.catalog.lookups import SAERow, sae_rows
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.parquet import null_where, null_where_nan

SCORING_VERSION = 2
"""2: ablation looks at as many documents as there are."""
EDITED_SITE = "resid_post"
"""Ablation edits the residual stream: SAEs of another site have no causal effect."""


@stage_task("features")
@one_at_a_time("features")
def measure_features(study: Study, sae_keys: list[str], parts: int = 1) -> None:
    """One pass over the test split for all SAEs that have no statistics yet.

    Args:
        parts: tasks that share the SAEs, each with a pass of its own; 1 does all of it here.
    """
    missing = [key for key in sae_keys if not _statistics_stage(study, key).skip()]
    if missing and parts > 1:
        run_parts("features", measure_share, _shares(missing, parts), study)
    elif missing:
        _measure(missing, study)


@part_task("features, part")
def measure_share(sae_keys: list[str], study: Study) -> None:
    """Statistics of the features of these SAEs, those left out that an attempt before this one completed."""
    if missing := [key for key in sae_keys if not _statistics_stage(study, key).complete]:
        _measure(missing, study)


def _shares(keys: list[str], parts: int) -> list[list[str]]:
    return [[keys[i] for i in numbers] for numbers in split_evenly(len(keys), parts)]


def _measure(missing: list[str], study: Study) -> None:
    found, device = {row.sae: row for row in sae_rows(study.warehouse, missing)}, sae_device(study.model)
    stats = {
        key: FeatureStats(load_judged_sae(study.warehouse, row).to(device), row.layer) for key, row in found.items()
    }
    source = residual_source(study)
    layers = sorted({row.layer for row in found.values()})
    with phase("features", f"encoding test tokens with {len(stats)} SAEs"):
        n_tokens = run_pass(source, list(stats.values()), layers=layers, splits=["test"])
    with checked_together():
        for key, row in found.items():
            with _statistics_stage(study, key) as stage:
                result = stats[key].result()
                stage.write("feature_stats", _columns(result, stage.collection, row), sae=key)
            active = int((result.n_active > 0).sum())
            say("features", f"{key}: {active:,} of {row.d_sae:,} features active on {n_tokens:,} test tokens")


@stage_task("score features")
@one_at_a_time("features")
def score_features(study: Study, sae_keys: list[str], settings: FeatureSettings, parts: int = 1) -> None:
    """Score, select and illustrate the features of all SAEs that have no scores under these settings yet.

    Train text gives the components and the examples, validation text the causal effect; the test split is not
    looked at, so that what is selected has not seen it.

    Args:
        parts: tasks that share the SAEs, each with passes of its own; 1 does all of it here.
    """
    missing = [key for key in sae_keys if not _scoring_stage(study, key, settings).skip()]
    if missing and parts > 1:
        run_parts("features", score_share, _shares(missing, parts), study, settings)
    elif missing:
        _score(missing, study, settings)


@part_task("score features, part")
def score_share(sae_keys: list[str], study: Study, settings: FeatureSettings) -> None:
    """Scores of the features of these SAEs, those left out that an attempt before this one completed."""
    if missing := [key for key in sae_keys if not _scoring_stage(study, key, settings).complete]:
        _score(missing, study, settings)


def _score(missing: list[str], study: Study, settings: FeatureSettings) -> None:
    warehouse, collection, device = study.warehouse, study.collection, sae_device(study.model)
    source, lm = residual_source(study), language_model(study.model)
    scorings = [Scoring.of(warehouse, found, device) for found in sae_rows(warehouse, missing)]
    tokens = compute_components(scorings, source, lm, settings)
    tokens_run = 0
    if study.row.site == EDITED_SITE:
        held_out = stored_sequences(warehouse, collection, splits=["val"])
        tokens_run = ablate(scorings, held_out, lm, study, settings)
    else:
        say("features", f"no causal effects for {study.row.site}: only the residual stream can be edited")
    select(scorings, settings)
    sequences = {q.sequence_id: q for q in stored_sequences(warehouse, collection, splits=["train"])}
    collect_examples(scorings, tokens, source, {number: len(q.token_ids) for number, q in sequences.items()}, settings)
    texts = TokenTexts(lm.tokenizer)
    with checked_together():
        for scoring in scorings:
            with _scoring_stage(study, scoring.key, settings) as stage:
                keys = {"collection": collection, "scoring": stage.key, "sae": scoring.key, "layer": scoring.layer}
                scores, examples = score_columns(scoring, texts), example_columns(scoring, sequences, texts)
                for table, columns in (("feature_scores", scores), ("feature_examples", examples)):
                    constants = {name: [value] * len(columns["feature_id"]) for name, value in keys.items()}
                    stage.write(table, columns | constants, sae=scoring.key)
                stage.tokens_run = tokens_run
            announce(scoring, texts)


def _statistics_stage(study: Study, sae_key: str) -> Stage:
    return study.stage("features", f"features-{sae_key[:-9]}", settings={}, inputs=[sae_key])


def _scoring_stage(study: Study, sae_key: str, settings: FeatureSettings) -> Stage:
    own = settings.model_dump(exclude={"score"})
    return study.stage(
        "feature_scores", f"scores-{sae_key[:-9]}", settings=own, inputs=[sae_key], version=SCORING_VERSION
    )


def _columns(result: ActivationStatistics, collection: str, row: SAERow) -> dict[str, Any]:
    """Accumulator columns as table columns: what a silent feature has no value for is NULL."""
    silent = result.n_active == 0
    columns = dict(vars(result))
    for name in ("mean_activation", "std_activation", "max_activation"):
        columns[name] = null_where_nan(columns[name])
    for name in ("max_sequence_id", "max_position"):
        columns[name] = null_where(columns[name], silent)
    n = len(silent)
    constants = {"collection": collection, "sae": row.sae, "layer": row.layer}
    return columns | {name: [value] * n for name, value in constants.items()}
