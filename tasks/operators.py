"""Stage ``operators``: every method for every pair of layers is fitted, scored on test tokens and registered."""

from dataclasses import dataclass, replace
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.fitting import OperatorFit, fit_operator_from_moments
from ato.moments import Moments
from ato.operators import TransportOperator
from ato.residual_scores import PairScores, residual_scores_from_moments
from ato.residuals import share_pass
from tasks.collect import moments_stage
from tasks.models import check_layers
from tasks.progress import Progress, say
from tasks.settings import EvaluateSettings, ModelSettings, OperatorSettings
from tasks.sources import collection_row, residual_source
from tasks.stage import Stage
from warehouse.store import Warehouse

BASELINES = ("identity", "mean")
RANKED = ("rrr", "svd")
"""Methods whose operators have the rank of the settings."""


@dataclass(frozen=True)
class PairStage:
    """One pair of layers with its stage: the unit that is skipped or committed."""

    source_layer: int
    target_layer: int
    stage: Stage

    def operator_key(self, method: str) -> str:
        """Key of the pair's operator fitted by a method."""
        return f"{method}-{self.stage.key}"

    def operator_path(self, method: str) -> tuple[str, ...]:
        """Where the operator's file lies among the artifacts."""
        return ("operators", self.stage.key, f"{method}.safetensors")

    @property
    def slug(self) -> str:
        """Readable name of the pair."""
        return f"L{self.source_layer:02d}-k{self.target_layer - self.source_layer:02d}"

    @property
    def columns(self) -> dict[str, int]:
        """The pair as columns of a table."""
        leap = self.target_layer - self.source_layer
        return {"source_layer": self.source_layer, "leap": leap, "target_layer": self.target_layer}


def pair_stages(
    warehouse: Warehouse, collection: str, settings: OperatorSettings, evaluate: EvaluateSettings
) -> list[PairStage]:
    """The stage of every pair that the settings name."""
    own = settings.model_dump(exclude={"source_layers", "leaps", "register_operators"})
    own |= {"n_bootstrap": evaluate.n_bootstrap, "bootstrap_seed": evaluate.bootstrap_seed}
    return [
        PairStage(source, target, Stage(
            warehouse, "operators", f"L{source:02d}-k{target - source:02d}",
            settings=own | {"source_layer": source, "target_layer": target}, inputs=[collection], collection=collection,
        ))
        for source, target in settings.pairs
    ]  # fmt: skip


@task(name="operators", cache_policy=NO_CACHE)
def fit_operators(
    collection: str, model: ModelSettings, settings: OperatorSettings, evaluate: EvaluateSettings
) -> list[str]:
    """Fit from moments, score on test tokens in one pass for all pairs, register; returns the keys of the pairs."""
    warehouse = Warehouse()
    pairs = pair_stages(warehouse, collection, settings, evaluate)
    missing = [pair for pair in pairs if not pair.stage.complete]
    say("operators", f"{len(pairs) - len(missing)} of {len(pairs)} pairs are complete, skipped" if len(missing) < len(pairs)
        else f"fitting {len(settings.methods)} methods for {len(pairs)} pairs")  # fmt: skip
    if missing:
        row = collection_row(warehouse, collection)
        check_layers({layer for pair in settings.pairs for layer in pair}, tuple(row["layers"]), where=collection)
        moments = load_moments(warehouse, collection, settings)
        with Progress("operators", 2 * len(missing), "pairs") as progress:
            fits = {}
            for pair in missing:
                fits[pair] = _fit_pair(pair, moments, settings, row)
                progress.advance()
            scores = {
                pair: PairScores(moments, pair.source_layer, pair.target_layer, _operators(fits[pair]))
                for pair in missing
            }
            source = residual_source(warehouse, row, model)
            share_pass(source, list(scores.values()), splits=["test"])
            for pair in missing:
                _commit_pair(pair, fits[pair], scores[pair], moments, settings, evaluate, row)
                progress.advance()
    return [pair.stage.key for pair in pairs]


def load_moments(warehouse: Warehouse, collection: str, settings: OperatorSettings) -> Moments:
    """The moments artifact of the pairs of the settings."""
    stage = moments_stage(warehouse, collection, settings.pairs)
    return Moments.load(warehouse.artifact_path("moments", f"{stage.key}.safetensors"))


def _fit_pair(
    pair: PairStage, moments: Moments, settings: OperatorSettings, row: dict[str, Any]
) -> dict[str, OperatorFit]:
    """Every method of one pair; the operators carry the model and collection that they belong to."""
    fits: dict[str, OperatorFit] = {}
    for method in settings.methods:
        fit = fit_operator_from_moments(
            moments, pair.source_layer, pair.target_layer, method,
            alphas=settings.alphas, rank=settings.rank if method in RANKED else None,
            output_weight=settings.output_weight,
        )  # fmt: skip
        operator = replace(
            fit.operator, model=row["model"], weights_hash=row["weights_hash"], collection=row["collection"]
        )
        fits[method] = replace(fit, operator=operator)
    return fits


def _operators(fits: dict[str, OperatorFit]) -> dict[str, TransportOperator]:
    return {method: fit.operator for method, fit in fits.items()}


def _commit_pair(
    pair: PairStage, fits: dict[str, OperatorFit], scores: PairScores, moments: Moments,
    settings: OperatorSettings, evaluate: EvaluateSettings, row: dict[str, Any],
) -> None:  # fmt: skip
    """Write the operators, their rows and cross-validation tables; the manifest comes last."""
    results = scores.result(n_boot=evaluate.n_bootstrap, seed=evaluate.bootstrap_seed)
    with pair.stage as stage:
        rows, strengths = [], []
        for method, fit in fits.items():
            file = stage.warehouse.publish_artifact(fit.operator.save, *pair.operator_path(method))
            stage.add(file)
            result = _operator_row(pair, method, fit, results[method], moments, row)
            result["path"] = file.path
            result["registry_uri"] = None
            if settings.register_operators and method not in BASELINES:
                result["registry_uri"] = _register(stage, pair, method, result, row)
            rows.append(result)
            strengths += _cv_rows(pair, method, fit)
        stage.write("operators", rows)
        if strengths:
            stage.write("operator_cv", strengths)


def _operator_row(
    pair: PairStage, method: str, fit: OperatorFit, score: Any, moments: Moments, row: dict[str, Any]
) -> dict[str, Any]:
    operator = fit.operator
    by_split = {
        split: residual_scores_from_moments(operator, moments, pair.source_layer, pair.target_layer, split)
        for split in ("train", "val")
    }
    intervals = {
        f"{name}{end}": getattr(score, f"{name}{end}")
        for name in ("r2", "r2_weighted", "r2_whitened", "r2_update", "skill")
        for end in ("", "_low", "_high")
    }
    for end in ("", "_low", "_high"):
        intervals[f"r2_test{end}"] = intervals.pop(f"r2{end}")
    return {
        "collection": row["collection"], "operator": pair.operator_key(method), **pair.columns,
        "position_policy": "same", "method": method, "output_weight": operator.output_weight,
        "alpha": operator.alpha, "alpha_at_edge": fit.alpha_at_edge, "rank": operator.rank, "kept_rank": fit.kept_rank,
        "n_train": fit.n_train, "n_test": score.n, "n_test_documents": score.n_documents,
        "few_tokens": fit.n_train < 10 * row["d_model"], "r2_cv": fit.r2_cv,
        "r2_train": by_split["train"].r2, "r2_val": by_split["val"].r2,
        **intervals, "mse": score.mse, "cosine": score.cosine,
    }  # fmt: skip


def _cv_rows(pair: PairStage, method: str, fit: OperatorFit) -> list[dict[str, Any]]:
    if fit.cv_scores is None:
        return []
    return [
        {
            "collection": pair.stage.collection, "operator": pair.operator_key(method), **pair.columns,
            "method": method, "alpha": alpha, "l1_ratio": None, "fold": fold, "r2": float(r2),
        }
        for alpha, folds in zip(fit.alphas, fit.cv_scores)
        for fold, r2 in enumerate(folds)
    ]  # fmt: skip


def _register(stage: Stage, pair: PairStage, method: str, result: dict[str, Any], row: dict[str, Any]) -> str:
    """One registered model a (model, source layer, leap); its versions are operators, the best by r2_val is ``best``."""
    from warehouse.registry import Registry

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
    return Registry(stage.warehouse.root).register_operator(
        stage.warehouse.artifact_path(*pair.operator_path(method)),
        result["operator"],
        model=row["model"],
        source_layer=pair.source_layer,
        leap=pair.target_layer - pair.source_layer,
        params={"method": method, "alpha": result["alpha"], "rank": result["rank"], "collection": row["collection"]},
        metrics={name: result[name] for name in names if result[name] is not None},
        tags={"weights_hash": row["weights_hash"], "collection": row["collection"]},
    )
