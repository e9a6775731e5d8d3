"""Stage ``operators``: every method for every pair of layers is fitted, scored on test tokens and registered."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.evaluation.residual_scores import PairScores
from ato.numerics.parallel import run_tasks
from ato.operators.fitting import OperatorFit, fit_operator_from_moments
from ato.operators.methods import METHODS
from ato.residuals import run_pass
from tasks.collect.moments import StudyMoments, load_moments, paired_source
from tasks.collect.sources import collection_row
from tasks.engine.model_cache import check_layers
from tasks.engine.parallel_parts import run_parts
from tasks.engine.progress import Progress, say
from tasks.engine.stage import Stage, checked_together, one_at_a_time
from tasks.operators.pairs import PairStage, divided_by_source, feature_pair_stages, pair_stages
from tasks.operators.rows import cv_rows, operator_row, spectrum_rows
from tasks.settings import EvaluateSettings, ModelSettings, OperatorSettings
from warehouse.storage.warehouse import Warehouse


@task(name="operators", cache_policy=NO_CACHE)
@one_at_a_time("operators")
def fit_operators(
    collection: str,
    sae_keys: list[str],
    model: ModelSettings,
    settings: OperatorSettings,
    evaluate: EvaluateSettings,
    parts: int = 1,
) -> list[str]:
    """Fit from moments, score on test tokens in one pass for all pairs, register; returns the keys of the pairs.

    Args:
        parts: tasks that share the pairs, each with a pass of its own; 1 does all of it here.
    """
    pairs = _all_pairs(collection, sae_keys, settings, evaluate)
    missing = [pair for pair in pairs if not pair.stage.complete]
    say(
        "operators",
        f"{len(pairs) - len(missing)} of {len(pairs)} pairs are complete, skipped"
        if len(missing) < len(pairs)
        else f"fitting {len(settings.methods)} methods for {len(pairs)} pairs",
    )
    if missing and parts > 1:
        shares = [[pair.stage.key for pair in share] for share in divided_by_source(missing, parts)]
        run_parts("operators", fit_share, shares, collection, sae_keys, model, settings, evaluate)
    elif missing:
        _fit_pairs(missing, collection, model, settings, evaluate)
    return [pair.stage.key for pair in pairs]


@task(name="operators, part", cache_policy=NO_CACHE)
def fit_share(
    keys: list[str],
    collection: str,
    sae_keys: list[str],
    model: ModelSettings,
    settings: OperatorSettings,
    evaluate: EvaluateSettings,
) -> None:
    """The pairs with these keys, those left out that an attempt before this one completed."""
    pairs = _all_pairs(collection, sae_keys, settings, evaluate)
    if missing := [pair for pair in pairs if pair.stage.key in keys and not pair.stage.complete]:
        _fit_pairs(missing, collection, model, settings, evaluate)


def _all_pairs(
    collection: str, sae_keys: list[str], settings: OperatorSettings, evaluate: EvaluateSettings
) -> list[PairStage]:
    warehouse = Warehouse()
    pairs = pair_stages(warehouse, collection, settings, evaluate)
    return pairs + feature_pair_stages(warehouse, collection, settings, evaluate, sae_keys)


def _fit_pairs(
    pairs: Sequence[PairStage],
    collection: str,
    model: ModelSettings,
    settings: OperatorSettings,
    evaluate: EvaluateSettings,
) -> None:
    """Fit, score and commit these pairs, with one pass over the test tokens of their layers."""
    warehouse = Warehouse()
    row = collection_row(warehouse, collection)
    check_layers(settings.layers, tuple(row["layers"]), where=collection)
    moments = load_moments(warehouse, collection, settings, {pair.layers for pair in pairs})
    with Progress("operators", 2 * len(pairs), "pairs") as progress:
        fits: dict[str, dict[str, OperatorFit]] = {}
        for pair in sorted(pairs, key=lambda pair: pair.layers):  # the factorisations of a source are shared
            own = fits[pair.stage.key] = {}
            for method in pair.methods:
                own[method] = _fit(pair, method, own, moments, settings, row)
            progress.advance()
        scores = {
            pair.stage.key: PairScores(
                moments.own, *pair.keys, {method: fit.operator for method, fit in fits[pair.stage.key].items()}
            )
            for pair in pairs
        }
        source, layers = paired_source(warehouse, row, model, settings), {key for pair in pairs for key in pair.keys}
        run_pass(source, list(scores.values()), layers=sorted(layers), splits=["test"])
        with checked_together():
            for pair in pairs:
                key = pair.stage.key
                _commit(pair, fits[key], scores[key], moments, settings, evaluate, row)
                progress.advance()


def _fit(
    pair: PairStage,
    method: str,
    others: Mapping[str, OperatorFit],
    moments: StudyMoments,
    settings: OperatorSettings,
    row: dict[str, Any],
) -> OperatorFit:
    """One method of one pair, the others' fits at hand; the operator carries the model and collection it belongs to."""
    kind, options = METHODS[method], settings.options(method)
    if kind.strength_of:
        chosen = others.get(kind.strength_of) or fit_operator_from_moments(
            moments.own, *pair.keys, kind.strength_of, **settings.options(kind.strength_of)
        )
        options["alphas"] = [float(chosen.alpha or 0)]
    if kind.for_features:
        options["decoder"] = pair.decoder
    rows, keys = moments.permuted_pair(*pair.layers) if kind.permuted else (moments.own, pair.keys)
    fit = fit_operator_from_moments(rows, *keys, method, **options)
    operator = replace(
        fit.operator,
        source_layer=pair.source_layer,
        model=row["model"],
        revision=row["revision"],
        weights_hash=row["weights_hash"],
        collection=row["collection"],
    )
    return replace(fit, operator=operator)


def _commit(
    pair: PairStage,
    fits: dict[str, OperatorFit],
    scores: PairScores,
    moments: StudyMoments,
    settings: OperatorSettings,
    evaluate: EvaluateSettings,
    row: dict[str, Any],
) -> None:
    """Write the operators, their rows, cross-validation tables and spectra; the manifest comes last."""
    results = scores.result(evaluate.bootstrap)
    with pair.stage as stage:
        spectra = run_tasks([partial(spectrum_rows, pair, method, fit.operator) for method, fit in fits.items()])
        scored = run_tasks(
            [
                partial(operator_row, pair, method, fit, results[method], moments.own, row)
                for method, fit in fits.items()
            ]
        )
        rows, strengths = [], []
        for (method, fit), result in zip(fits.items(), scored, strict=True):
            file = stage.warehouse.publish_artifact(fit.operator.save, *pair.operator_path(method))
            stage.add(file)
            result |= {"path": file.path, "registry_uri": None}
            if settings.register_operators and not METHODS[method].baseline:
                result["registry_uri"] = _register(stage, pair, method, result, row)
            rows.append(result)
            strengths += cv_rows(pair, method, fit)
        stage.write("operators", rows)
        if strengths:
            stage.write("operator_cv", strengths)
        if any(spectra):
            stage.write("operator_spectra", list(chain.from_iterable(spectra)))


def _register(stage: Stage, pair: PairStage, method: str, result: dict[str, Any], row: dict[str, Any]) -> str:
    """One registered model a (model, source layer, leap); its versions are operators, the best by r2_val is ``best``."""
    from warehouse.registry.registry import Registry

    names = (
        "r2_train",
        "r2_cv",
        "r2_val",
        "r2_test",
        "r2_weighted",
        "r2_whitened",
        "r2_update",
        "skill",
        "mse",
        "cosine",
    )
    params = {name: result[name] for name in ("method", "position_policy", "alpha", "l1_ratio", "rank", "collection")}
    return Registry(stage.warehouse.root).register_operator(
        stage.warehouse.artifact_path(*pair.operator_path(method)),
        result["operator"],
        model=row["model"],
        source_layer=pair.source_layer,
        leap=pair.target_layer - pair.source_layer,
        params=params,
        metrics={name: result[name] for name in names if result[name] is not None},
        tags={"weights_hash": row["weights_hash"], "collection": row["collection"]},
    )
