"""Stage ``evaluate``: feature transport, efficiency and subspaces of all pairs, in one pass over the test tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.ceilings import CanonicalModes
from ato.feature_moments import feature_ceiling, feature_scores_from_moments
from ato.feature_transport import FeatureTransport
from ato.fitting import fit_operator_from_moments
from ato.mode_scores import ModeResult, ModeScores
from ato.moments import Moments
from ato.operators import TransportOperator, load_operator
from ato.rank_curves import svd_rank_curve
from ato.residuals import Consumer, share_pass
from ato.saes import SharedEncoding, SparseAutoencoder
from tasks.models import check_layers
from tasks.operators import PairStage, load_moments, pair_stages
from tasks.progress import Progress, say
from tasks.saes import load_judged_sae, sae_rows
from tasks.settings import EvaluateSettings, ModelSettings, OperatorSettings
from tasks.sources import collection_row, residual_source
from tasks.stage import Stage
from warehouse.store import Warehouse
from warehouse.writing import null_where_nan

WIDE_BRACKET = 0.05
"""A ceiling whose in-sample and held-out ends differ by more is flagged: it is not known well enough."""


@dataclass(frozen=True)
class FeatureUnit:
    """One pair and one SAE at its target layer, with the stage that their scores are committed under."""

    pair: PairStage
    row: dict[str, Any]
    """The SAE's row in the table ``saes``."""
    stage: Stage

    @property
    def sae(self) -> str:
        """Key of the SAE."""
        return self.row["sae"]


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate_operators(
    collection: str, sae_keys: list[str], model: ModelSettings, operators: OperatorSettings, settings: EvaluateSettings
) -> None:
    """Judge all pairs and features that have no scores yet, in one pass over the test tokens."""
    warehouse = Warehouse()
    pairs = pair_stages(warehouse, collection, operators, settings)
    units = _feature_units(warehouse, collection, pairs, sae_keys, settings)
    ranks = {pair: _rank_stage(warehouse, pair, settings) for pair in pairs}
    missing_units = [unit for unit in units if not unit.stage.complete]
    missing_pairs = [pair for pair in pairs if not ranks[pair].complete]
    done = len(units) + len(pairs) - len(missing_units) - len(missing_pairs)
    if done:
        say("evaluate", f"{done} of {len(units) + len(pairs)} evaluations are complete, skipped")
    if not missing_units and not missing_pairs:
        return
    row = collection_row(warehouse, collection)
    check_layers({layer for pair in operators.pairs for layer in pair}, tuple(row["layers"]), where=collection)
    moments = load_moments(warehouse, collection, operators)
    transports = _transports(warehouse, missing_units, operators)
    modes = {
        pair: ModeScores(CanonicalModes.from_moments(moments, pair.source_layer, pair.target_layer))
        for pair in missing_pairs
    }
    consumers: list[Consumer] = [shared for shared, _, _ in transports.values()]
    consumers += modes.values()
    source = residual_source(warehouse, row, model)
    n_test = moments.variation(operators.pairs[0][0], ["test"])[0]
    with Progress("evaluate", n_test, "test tokens") as progress:
        share_pass(source, consumers, splits=["test"], on_block=lambda block: progress.advance(block.n))
    with Progress("evaluate", len(missing_units) + len(missing_pairs), "evaluations") as progress:
        for pair in missing_pairs:
            _commit_ranks(pair, ranks[pair], modes[pair], moments, operators, settings, row)
            progress.advance()
        for key, (_, transport, sae) in transports.items():
            _commit_features(key, transport, sae, missing_units, moments, operators, settings)
            progress.advance(sum(unit.sae == key for unit in missing_units))


def _feature_units(
    warehouse: Warehouse, collection: str, pairs: Iterable[PairStage], sae_keys: list[str], settings: EvaluateSettings
) -> list[FeatureUnit]:
    own = settings.model_dump(exclude={"ranks"})
    units = []
    for sae in sae_rows(warehouse, sae_keys):
        for pair in pairs:
            if pair.target_layer == sae["layer"]:
                stage = Stage(
                    warehouse, "evaluate", f"features-{pair.slug}", settings=own,
                    inputs=[pair.stage.key, sae["sae"]], collection=collection,
                )  # fmt: skip
                units.append(FeatureUnit(pair, sae, stage))
    return units


def _rank_stage(warehouse: Warehouse, pair: PairStage, settings: EvaluateSettings) -> Stage:
    own = settings.model_dump(include={"ranks", "n_bootstrap", "bootstrap_seed"})
    return Stage(
        warehouse,
        "evaluate",
        f"ranks-{pair.slug}",
        settings=own,
        inputs=[pair.stage.key],
        collection=pair.stage.collection,
    )


def _transports(
    warehouse: Warehouse, units: list[FeatureUnit], settings: OperatorSettings
) -> dict[str, tuple[SharedEncoding, FeatureTransport, SparseAutoencoder]]:
    """One accumulator an SAE, for all operators that end at its layer."""
    found = {}
    for key in sorted({unit.sae for unit in units}):
        pairs = [unit.pair for unit in units if unit.sae == key]
        sae = load_judged_sae(warehouse, next(unit.row for unit in units if unit.sae == key))
        operators = {
            pair.operator_key(method): (pair.source_layer, _load(warehouse, pair, method))
            for pair in pairs
            for method in settings.methods
        }
        transport = FeatureTransport(sae, pairs[0].target_layer, operators)
        found[key] = SharedEncoding(sae, pairs[0].target_layer, [transport]), transport, sae
    return found


def _load(warehouse: Warehouse, pair: PairStage, method: str) -> TransportOperator:
    return load_operator(warehouse.artifact_path(*pair.operator_path(method)))


def _commit_features(
    key: str, transport: FeatureTransport, sae: SparseAutoencoder, units: list[FeatureUnit],
    moments: Moments, operators: OperatorSettings, settings: EvaluateSettings,
) -> None:  # fmt: skip
    """Write the scores of all pairs that end at one SAE, a stage for each pair."""
    results = transport.result(
        n_boot=settings.n_bootstrap, seed=settings.bootstrap_seed, min_active=settings.min_active,
        transported_above=settings.transported_above, synthesised_below=settings.synthesised_below,
    )  # fmt: skip
    directions = sae.decoder_directions.double().cpu().numpy()
    for unit in (unit for unit in units if unit.sae == key):
        pair = unit.pair
        layers = pair.source_layer, pair.target_layer
        with unit.stage as stage:
            ceiling = feature_ceiling(moments, *layers, directions)
            tables = []
            for method in operators.methods:
                columns: dict[str, Any] = dict(results[pair.operator_key(method)])
                operator = _load(stage.warehouse, pair, method)
                columns["r2_all_tokens"] = feature_scores_from_moments(operator, moments, *layers, directions)
                columns["ceiling"] = ceiling
                n = len(columns["feature_id"])
                constants = {
                    "collection": stage.collection, "evaluation": stage.key, "operator": pair.operator_key(method),
                    "sae": key, **pair.columns, "method": method, "sae_trusted": unit.row["trusted"],
                }  # fmt: skip
                tables.append(columns | {name: np.full(n, value) for name, value in constants.items()})
            joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
            stage.write("feature_transport", missing_as_null(joined), sae=key)


def missing_as_null(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns in which every NaN, the accumulators' sign for "not measured", is NULL."""
    return {
        name: null_where_nan(values) if getattr(values, "dtype", None) == np.float64 else values.tolist()
        for name, values in columns.items()
    }


def _commit_ranks(
    pair: PairStage, stage: Stage, scores: ModeScores, moments: Moments,
    operators: OperatorSettings, settings: EvaluateSettings, row: dict[str, Any],
) -> None:  # fmt: skip
    """Write efficiency curve, canonical correlations and subspace sizes of one pair."""
    modes = scores.modes
    width = min(row["d_model"], modes.d_kept)
    ranks = sorted({min(rank, width) for rank in settings.ranks})
    result = scores.result(ranks, n_boot=settings.n_bootstrap, seed=settings.bootstrap_seed)
    paper = svd_rank_curve(
        _ridge(pair, stage.warehouse, moments, operators), moments, pair.source_layer, pair.target_layer, ranks
    )
    shared = {"collection": stage.collection, "evaluation": stage.key, **pair.columns}
    with stage:
        stage.write("efficiency", [
            _efficiency_row(score, paper[score.rank], modes, result, row) | shared for score in result.ranks
        ])  # fmt: skip
        stage.write("canonical_correlations", shared_columns(shared, len(modes.rho_in_sample)) | {
            "mode": np.arange(1, len(modes.rho_in_sample) + 1),
            "rho_in_sample": modes.rho_in_sample,
            "rho_held_out": null_where_nan(result.rho_held_out),
        })  # fmt: skip
        held_out, in_sample = result.sizes_held_out, modes.sizes
        measurable = bool(np.nansum(result.rho_held_out**2) > 0)
        stage.write("subspaces", [shared | {
            "d_kept": modes.d_kept, "n_train": modes.n, "few_tokens": modes.n < 10 * row["d_model"],
            "lts_dim_participation": in_sample.participation,
            "lts_dim_participation_held_out": held_out.participation if measurable else None,
            "lts_rank_90": held_out.rank_90 if measurable else None,
            "lts_rank_95": held_out.rank_95 if measurable else None,
            "lts_rank_99": held_out.rank_99 if measurable else None,
            "lts_rank_90_paper": in_sample.rank_90, "lts_rank_95_paper": in_sample.rank_95,
            "lts_rank_99_paper": in_sample.rank_99,
        }])  # fmt: skip


def _ridge(pair: PairStage, warehouse: Warehouse, moments: Moments, operators: OperatorSettings) -> TransportOperator:
    """The pair's ridge operator, fitted here if the settings leave it out: the study's rank curve truncates it."""
    if "ridge" in operators.methods:
        return _load(warehouse, pair, "ridge")
    return fit_operator_from_moments(
        moments, pair.source_layer, pair.target_layer, "ridge", alphas=operators.alphas
    ).operator


def shared_columns(values: dict[str, Any], n: int) -> dict[str, Any]:
    """Constant columns of n rows."""
    return {name: [value] * n for name, value in values.items()}


def _efficiency_row(
    score: Any, r2_svd: float | None, modes: CanonicalModes, result: ModeResult, row: dict[str, Any]
) -> dict[str, Any]:
    names = (
        "ceiling_in_sample",
        *(f"{name}{end}" for name in ("ceiling_held_out", "r2_rrr", "efficiency") for end in ("", "_low", "_high")),
    )
    in_sample = score.ceiling_in_sample
    return {name: getattr(score, name) for name in names} | {
        "rank": score.rank, "d_kept": modes.d_kept, "n_train": modes.n, "n_test": result.n,
        "n_over_d": modes.n / row["d_model"], "few_tokens": modes.n < 10 * row["d_model"],
        "bracket_wide": in_sample - score.ceiling_held_out > WIDE_BRACKET,
        "r2_svd_paper": r2_svd, "ceiling_paper": in_sample,
        "efficiency_paper": None if r2_svd is None or in_sample == 0 else r2_svd / in_sample,
    }  # fmt: skip
