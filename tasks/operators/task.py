"""Stage ``operators``: every method for every pair of layers is fitted, scored on test tokens and registered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from ato.evaluation.residual_scores import PairScores
from ato.numerics.freed_memory import return_freed_memory
from ato.numerics.parallel import run_tasks
from ato.operators.fitting import OperatorFit, fit_operator_from_moments
from ato.operators.methods import METHODS
from ato.residuals import run_pass
from tasks.collect.moments import load_moments, paired_source
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.parallel_parts import part_task, run_parts
from tasks.engine.progress import Progress, phase, say
from tasks.engine.stage import checked_together
from tasks.engine.study import Study
from tasks.jacobians.stages import jacobian_stages
from tasks.operators.pairs import PairStage, feature_pair_stages, pair_stages, split_by_source
from tasks.operators.rows import columns_from_moments, cv_rows, operator_row, spectrum_rows
from tasks.operators.work import FitWork
from tasks.settings import OperatorSettings

if TYPE_CHECKING:
    from warehouse.registry.registry import Registry


@stage_task("operators")
@one_at_a_time("operators")
def fit_operators(study: Study, sae_keys: list[str], settings: OperatorSettings, parts: int = 1) -> list[str]:
    """Fit from moments, score on test tokens in one pass for all pairs, register; returns the keys of the pairs.

    Args:
        parts: tasks that share the pairs, each with a pass of its own; 1 does all of it here.
    """
    pairs = _all_pairs(study, sae_keys, settings)
    missing = [pair for pair in pairs if not pair.stage.complete]
    # A pair has two stages where methods are fitted for the features of an SAE too; it is one pair to those who read.
    n_pairs, n_missing = (len({pair.layers for pair in some}) for some in (pairs, missing))
    say(
        "operators",
        f"{n_pairs - n_missing} of {n_pairs} pairs are complete, skipped"
        if len(missing) < len(pairs)
        else f"fitting {len(settings.methods)} methods for {n_pairs} pairs",
    )
    if missing and parts > 1:
        shares = [[pair.stage.key for pair in share] for share in split_by_source(missing, parts)]
        run_parts("operators", fit_share, shares, study, sae_keys, settings)
    elif missing:
        _fit_pairs(missing, study, settings)
    return [pair.stage.key for pair in pairs]


@part_task("operators, part")
def fit_share(keys: list[str], study: Study, sae_keys: list[str], settings: OperatorSettings) -> None:
    """The pairs with these keys, those left out that an attempt before this one completed."""
    pairs = _all_pairs(study, sae_keys, settings)
    if missing := [pair for pair in pairs if pair.stage.key in keys and not pair.stage.complete]:
        _fit_pairs(missing, study, settings)


def _all_pairs(study: Study, sae_keys: list[str], settings: OperatorSettings) -> list[PairStage]:
    return pair_stages(study, settings) + feature_pair_stages(study, settings, sae_keys)


def _fit_pairs(pairs: Sequence[PairStage], study: Study, settings: OperatorSettings) -> None:
    """Fit, score and commit these pairs, with one pass over the test tokens of their layers."""
    study.check_layers(settings.layers)
    with phase("operators", "reading moments"):
        moments = load_moments(study, settings, {pair.layers for pair in pairs})
    work = FitWork(study, settings, moments)
    with Progress("operators", 2 * len(pairs), "fits and tests") as progress:
        fits: dict[str, dict[str, OperatorFit]] = {}
        pairs = sorted(pairs, key=lambda pair: pair.layers)  # the factorisations of a source are shared
        for pair in pairs:
            own = fits[pair.stage.key] = {}
            for method in pair.methods:
                own[method] = _fit(work, pair, method, own)
            progress.advance()
        scorers = [
            partial(
                PairScores,
                moments.own,
                *pair.keys,
                {method: fit.operator for method, fit in fits[pair.stage.key].items()},
                single=True,
            )
            for pair in pairs
        ]
        scores = dict(zip(fits, run_tasks(scorers), strict=True))
        known = {
            pair.stage.key: run_tasks(
                [partial(columns_from_moments, work, pair, fit.operator) for fit in fits[pair.stage.key].values()]
            )
            for pair in pairs
        }
        del moments, work, scorers  # nothing more is asked of them, and they are as large as all operators
        return_freed_memory()
        source, layers = paired_source(study, settings), {key for pair in pairs for key in pair.keys}
        run_pass(source, [*scores.values()], layers=sorted(layers), splits=["test"])
        registry = _open_registry(study) if settings.register_operators else None
        register = None if registry is None else partial(_register, registry, study)
        with checked_together():
            for pair in pairs:
                key = pair.stage.key
                own, results = fits.pop(key), scores.pop(key).result()
                rows = {
                    method: columns | operator_row(study, pair, method, fit, results[method])
                    for (method, fit), columns in zip(own.items(), known[key], strict=True)
                }
                _commit(pair, own, rows, register)
                progress.advance()
        if registry is not None:
            registry.checkpoint()


def _fit(work: FitWork, pair: PairStage, method: str, others: Mapping[str, OperatorFit]) -> OperatorFit:
    """One method of one pair, the others' fits at hand; the operator carries the model and collection it belongs to."""
    settings, moments, collection = work.settings, work.moments, work.study.row
    kind, options = METHODS[method], settings.options(method)
    if kind.strength_of:
        chosen = others.get(kind.strength_of) or fit_operator_from_moments(
            moments.own, *pair.keys, kind.strength_of, **settings.options(kind.strength_of)
        )
        options["alphas"] = [float(chosen.alpha or 0)]
    if kind.for_features:
        options["decoder"] = pair.decoder
    if kind.measured:
        (of,) = jacobian_stages(work.study, [pair.layers])
        options["matrix"] = of.mean()
    rows, keys = moments.permuted_pair(*pair.layers) if kind.permuted else (moments.own, pair.keys)
    fit = fit_operator_from_moments(rows, *keys, method, **options)
    operator = replace(
        fit.operator,
        source_layer=pair.source_layer,
        model=collection.model,
        revision=collection.revision,
        weights_hash=collection.weights_hash,
        collection=collection.collection,
    )
    return replace(fit, operator=operator)


def _commit(
    pair: PairStage,
    fits: dict[str, OperatorFit],
    rows: dict[str, dict[str, Any]],
    register: Callable[[PairStage, str, dict[str, Any]], str] | None,
) -> None:
    """Write the operators, their rows, cross-validation tables and spectra; the manifest comes last."""
    with pair.stage as stage:
        spectra = run_tasks([partial(spectrum_rows, pair, method, fit.operator) for method, fit in fits.items()])
        strengths = []
        for method, fit in fits.items():
            result = rows[method]
            file = stage.warehouse.publish_artifact(fit.operator.save, *pair.operator_path(method))
            stage.add(file)
            result |= {"path": file.path, "registry_uri": None}
            if register is not None and not METHODS[method].baseline:
                result["registry_uri"] = register(pair, method, result)
            strengths += cv_rows(pair, method, fit)
        stage.write("operators", list(rows.values()))
        if strengths:
            stage.write("operator_cv", strengths)
        if any(spectra):
            stage.write("operator_spectra", list(chain.from_iterable(spectra)))


def _open_registry(study: Study) -> "Registry":
    """The registry beside the warehouse.

    There is one registered model a (model with its weights, source layer, leap, site, position policy); its versions are
    operators, the best by r2_val is ``best``.
    """
    from warehouse.registry.registry import Registry

    return Registry(study.warehouse.root)


def _register(registry: "Registry", study: Study, pair: PairStage, method: str, result: dict[str, Any]) -> str:
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
    return registry.register_operator(
        study.warehouse.artifact_path(*pair.operator_path(method)),
        result["operator"],
        model=study.row.model,
        source_layer=pair.source_layer,
        leap=pair.target_layer - pair.source_layer,
        params=params,
        metrics={name: result[name] for name in names if result[name] is not None},
        tags={"weights_hash": study.row.weights_hash, "collection": study.collection},
        site=study.row.site,
        position_policy=pair.position_policy,
    )
