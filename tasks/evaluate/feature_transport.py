"""How well the operators of each pair carry the features of the SAE at their target: table ``feature_transport``."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ato.evaluation.feature_moments import feature_ceiling, feature_scores_from_moments
from ato.evaluation.feature_scores import FeatureScores
from ato.evaluation.feature_transport import FeatureTransport
from ato.residuals import Consumer
from ato.saes import SharedEncoding, SparseAutoencoder
from tasks.collect.moments import StudyMoments
from tasks.engine.columns import estimate_columns
from tasks.engine.progress import say
from tasks.engine.stage import Stage
from tasks.operators.pairs import PairStage
from tasks.saes.task import load_judged_sae, sae_rows
from tasks.settings import EvaluateSettings
from warehouse.storage.parquet import null_where_nan
from warehouse.storage.warehouse import Warehouse


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


class FeatureEvaluation:
    """Scores of every feature under every operator that ends at its SAE; one encoding an SAE serves them all.

    Args:
        device: device on which the SAEs read residuals.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        collection: str,
        sae_keys: list[str],
        pairs: Iterable[PairStage],
        settings: EvaluateSettings,
        device: torch.device,
    ):
        self._warehouse, self._settings, self._device = warehouse, settings, device
        own = settings.model_dump(exclude={"ranks"})
        self._units = [
            FeatureUnit(
                pair,
                row,
                Stage(
                    warehouse,
                    "evaluate",
                    f"features-{pair.slug}",
                    settings=own,
                    inputs=[pair.stage.key, row["sae"]],
                    collection=collection,
                ),
            )
            for row in sae_rows(warehouse, sae_keys)
            for pair in pairs
            if pair.target_layer == row["layer"]
        ]
        self._missing = [unit for unit in self._units if not unit.stage.complete]
        self._transports: dict[str, tuple[FeatureTransport, SparseAutoencoder]] = {}

    @property
    def stages(self) -> Sequence[tuple[int, Stage]]:
        """Target layer and stage, one a pair and SAE."""
        return [(unit.pair.target_layer, unit.stage) for unit in self._units]

    def consumers(self, moments: StudyMoments, row: dict[str, Any]) -> list[Consumer]:
        """One accumulator an SAE, for all operators that end at its layer."""
        self._moments = moments.own
        consumers: list[Consumer] = []
        for key in sorted({unit.sae for unit in self._missing}):
            units = [unit for unit in self._missing if unit.sae == key]
            sae = load_judged_sae(self._warehouse, units[0].row).to(self._device)
            layer = units[0].pair.target_layer
            operators = {
                unit.pair.operator_key(method): (unit.pair.keys[0], unit.pair.load(method))
                for unit in units
                for method in unit.pair.methods
            }
            transport = FeatureTransport(sae, layer, operators)
            self._transports[key] = transport, sae
            consumers.append(SharedEncoding(sae, layer, [transport]))
        return consumers

    def commit(self, on_stage: Callable[[], None]) -> None:
        """Write the scores, a stage for each pair and SAE."""
        s = self._settings
        for key, (transport, sae) in self._transports.items():
            results = transport.result(
                s.bootstrap,
                min_active=s.min_active,
                transported_above=s.transported_above,
                synthesised_below=s.synthesised_below,
            )
            directions = sae.decoder_directions.double().cpu().numpy()
            for unit in (unit for unit in self._missing if unit.sae == key):
                self._commit_unit(unit, results, directions)
                on_stage()

    def _commit_unit(self, unit: FeatureUnit, results: dict[str, FeatureScores], directions: np.ndarray) -> None:
        pair = unit.pair
        with unit.stage as stage:
            ceiling = feature_ceiling(self._moments, *pair.keys, directions)
            tables = []
            for method in pair.methods:
                scores = results[pair.operator_key(method)]
                columns = vars(scores) | estimate_columns(r2=scores.r2)
                columns["r2_all_tokens"] = feature_scores_from_moments(
                    pair.load(method), self._moments, *pair.keys, directions
                )
                columns["ceiling"] = ceiling
                n = len(columns["feature_id"])
                constants = {
                    "collection": stage.collection,
                    "evaluation": stage.key,
                    "operator": pair.operator_key(method),
                    "sae": unit.sae,
                    **pair.policy_columns,
                    "method": method,
                    "sae_trusted": unit.row["trusted"],
                }
                tables.append(columns | {name: np.full(n, value) for name, value in constants.items()})
            joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
            stage.write("feature_transport", _missing_as_null(joined), sae=unit.sae)
        if np.isnan(joined["r2"]).all():
            say(
                "evaluate",
                f"{pair.slug}: no feature of {unit.sae} is active on {self._settings.min_active} test tokens: its scores are NULL",
            )


def _missing_as_null(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns in which every NaN, the accumulators' sign for "not measured", is NULL."""
    return {
        name: null_where_nan(values) if getattr(values, "dtype", None) == np.float64 else values.tolist()
        for name, values in columns.items()
    }
