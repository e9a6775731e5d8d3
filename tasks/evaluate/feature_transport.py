"""How well the operators of each pair carry the features of the SAE at their target: table ``feature_transport``."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ato.evaluation.feature_averages import FeatureAverages
from ato.evaluation.feature_moments import feature_ceiling, feature_scores_from_moments, least_squares_map
from ato.evaluation.feature_scores import FeatureScores
from ato.evaluation.feature_transport import FeatureTransport
from ato.numerics.parallel import run_tasks
from ato.operators import TransportOperator
from ato.operators.methods import METHODS
from ato.residuals import Consumer, Layer
from ato.saes import SharedEncoding
from tasks.collect.moments import StudyMoments
from tasks.engine.columns import estimate_columns
from tasks.engine.model_cache import sae_device
from tasks.engine.progress import say
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.evaluate.feature_averages import SELECTED, average_rows, choices, difference_rows
from tasks.operators.pairs import PairStage
from tasks.saes.task import load_judged_sae
from tasks.settings import EvaluateSettings
from warehouse.catalog.lookups import SAERow, sae_rows
from warehouse.storage.parquet import null_where_nan


@dataclass(frozen=True)
class FeatureStage:
    """One pair and one SAE at its target layer, with the stage that their scores are committed under."""

    pair: PairStage
    sae: SAERow
    stage: Stage


@dataclass(frozen=True)
class _FromMoments:
    """What the moments say of the features of a stage, [d_sae] each, before a token is scored."""

    ceiling_all_tokens: np.ndarray
    r2_all_tokens: dict[str, np.ndarray]
    """By method."""


class FeatureEvaluation:
    """Scores of every feature under every operator that ends at its SAE; one encoding an SAE serves them all."""

    def __init__(self, study: Study, sae_keys: list[str], pairs: Sequence[PairStage], settings: EvaluateSettings):
        self._study, self._settings = study, settings
        saes = sae_rows(study.warehouse, sae_keys)
        self._choices = {sae.sae: choices(study, sae.sae, sae.d_sae) for sae in saes}
        self._stages = [
            FeatureStage(pair, sae, self._stage(pair, sae))
            for sae in saes
            for pair in pairs
            if pair.target_layer == sae.layer
        ]
        self._missing = [of for of in self._stages if not of.stage.complete]
        self._transports: dict[str, FeatureTransport] = {}
        self._known: dict[str, _FromMoments] = {}

    def _stage(self, pair: PairStage, sae: SAERow) -> Stage:
        """The features that are averaged over belong to its key: another selection is another evaluation."""
        own = self._settings.model_dump(exclude={"ranks"})
        selected = self._choices[sae.sae].get(SELECTED)
        if selected is not None:
            own["selected"] = hashlib.sha256(np.flatnonzero(selected).tobytes()).hexdigest()[:16]
        return self._study.stage(
            "evaluate", f"features-{pair.slug}", settings=own, inputs=[pair.stage.key, sae.sae], version=2
        )

    @property
    def stages(self) -> Sequence[tuple[int, Stage]]:
        """Target layer and stage, one a pair and SAE."""
        return [(of.pair.target_layer, of.stage) for of in self._stages]

    def consumers(self, moments: StudyMoments) -> list[Consumer]:
        """One accumulator an SAE, for all operators that end at its layer."""
        device = sae_device(self._study.model)
        consumers: list[Consumer] = []
        for key, row in sorted({of.sae.sae: of.sae for of in self._missing}.items()):
            pairs = [of.pair for of in self._missing if of.sae.sae == key]
            sae, layer = load_judged_sae(self._study.warehouse, row).to(device), row.layer
            operators: dict[str, tuple[Layer, TransportOperator]] = {}
            combined: dict[str, list[str]] = {}
            for pair in pairs:
                operators |= {pair.operator_key(method): (pair.keys[0], pair.load(method)) for method in pair.methods}
                names = [pair.operator_key(method) for method in pair.methods if not METHODS[method].baseline]
                if not any(METHODS[method].scales for method in pair.methods):
                    # Maps of low rank alone would make a low ceiling: least squares bounds them as well.
                    reference = f"least-squares-{pair.stage.key}"
                    operators[reference] = pair.keys[0], least_squares_map(moments.own, *pair.keys)
                    names.append(reference)
                combined |= {pair.operator_key(method): names for method in pair.methods}
            transport = FeatureTransport(sae, layer, operators, combined=combined)
            self._transports[key] = transport
            consumers.append(SharedEncoding(sae, layer, [transport]))
            own = [of for of in self._missing if of.sae.sae == key]
            directions = sae.decoder_directions.double().cpu().numpy()
            known = run_tasks([partial(_from_moments, moments, of.pair, directions) for of in own])
            self._known |= {of.stage.key: found for of, found in zip(own, known, strict=True)}
        return consumers

    def commit(self, on_stage: Callable[[], None]) -> None:
        """Write the scores, a stage for each pair and SAE."""
        judging = self._settings.model_dump(include={"min_active", "transported_above", "computed_below"})
        for key in [*self._transports]:
            transport = self._transports.pop(key)
            results, averages = transport.result(**judging), transport.averages(self._choices[key], **judging)
            for of in (of for of in self._missing if of.sae.sae == key):
                self._commit(of, results, averages)
                on_stage()

    def _commit(
        self, of: FeatureStage, results: dict[str, FeatureScores], averages: dict[str, FeatureAverages]
    ) -> None:
        pair, known, operators = of.pair, self._known[of.stage.key], list(results)
        with of.stage as stage:
            tables = []
            for method in pair.methods:
                scores = results[pair.operator_key(method)]
                columns = vars(scores) | estimate_columns(r2=scores.r2, ceiling=scores.ceiling)
                columns |= {
                    "r2_all_tokens": known.r2_all_tokens[method],
                    "ceiling_all_tokens": known.ceiling_all_tokens,
                }
                n = len(columns["feature_id"])
                constants = {
                    "collection": stage.collection,
                    "evaluation": stage.key,
                    "operator": pair.operator_key(method),
                    "sae": of.sae.sae,
                    **pair.policy_columns,
                    "method": method,
                    "sae_trusted": of.sae.trusted,
                }
                tables.append(columns | {name: np.full(n, value) for name, value in constants.items()})
            joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
            stage.write("feature_transport", _missing_as_null(joined), sae=of.sae.sae)
            shared = {"collection": stage.collection, "evaluation": stage.key, "sae": of.sae.sae}
            found = {
                "feature_transport_averages": average_rows(pair, averages, operators),
                "feature_transport_differences": difference_rows(pair, averages, operators),
            }
            for table, rows in found.items():
                if rows:
                    stage.write(table, [row | shared for row in rows], sae=of.sae.sae)
        if np.isnan(joined["r2"]).all():
            say(
                "evaluate",
                f"{pair.slug}: no feature of {of.sae.sae} is active on {self._settings.min_active} test tokens, scores are NULL",
            )


def _from_moments(moments: StudyMoments, pair: PairStage, directions: np.ndarray) -> _FromMoments:
    return _FromMoments(
        feature_ceiling(moments.own, *pair.keys, directions),
        {
            method: feature_scores_from_moments(pair.load(method), moments.own, *pair.keys, directions)
            for method in pair.methods
        },
    )


def _missing_as_null(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns in which every NaN, the accumulators' sign for "not measured", is NULL."""
    return {
        name: null_where_nan(values) if getattr(values, "dtype", None) == np.float64 else values.tolist()
        for name, values in columns.items()
    }
