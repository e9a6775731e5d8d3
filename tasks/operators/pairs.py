"""The pairs of layers of a study: which operators each has, where they lie, and the stage they are committed under."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ato.operators import TransportOperator, load_operator
from ato.operators.methods import METHODS
from ato.residuals.position_policies import Layer, source_key
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.jacobians.stages import jacobian_stages
from tasks.saes.task import load_judged_sae
from tasks.settings import OperatorSettings
from warehouse.catalog.lookups import sae_rows, selected_features

ELSEWHERE = {"source_layers", "leaps", "target_layers", "register_operators", "train_fractions", "permutation_null"}
"""Settings that change nothing in the operators of one pair."""


@dataclass(frozen=True)
class PairStage:
    """One pair of layers with its stage: the unit that is skipped or committed."""

    source_layer: int
    target_layer: int
    position_policy: str
    methods: tuple[str, ...]
    stage: Stage
    decoder: np.ndarray | None = None
    """[features, d] decoder directions of the selected features, for the methods that are optimal for them."""

    def operator_key(self, method: str) -> str:
        """Key of the pair's operator fitted by a method."""
        return f"{method}-{self.stage.key}"

    def operator_path(self, method: str) -> tuple[str, ...]:
        """Where the operator's file lies among the artifacts."""
        return ("operators", self.stage.key, f"{method}.safetensors")

    def load(self, method: str) -> TransportOperator:
        """The operator that a method gave."""
        return load_operator(self.stage.warehouse.artifact_path(*self.operator_path(method)))

    @property
    def layers(self) -> tuple[int, int]:
        """(source, target)."""
        return self.source_layer, self.target_layer

    @property
    def keys(self) -> tuple[Layer, int]:
        """(source, target) under which moments and blocks hold the paired rows, see ``ato.residuals.pairing``."""
        return source_key(*self.layers, self.position_policy), self.target_layer

    @property
    def slug(self) -> str:
        """Readable name of the pair."""
        return f"L{self.source_layer:02d}-k{self.target_layer - self.source_layer:02d}"

    @property
    def columns(self) -> dict[str, int]:
        """The pair as columns of a table."""
        leap = self.target_layer - self.source_layer
        return {"source_layer": self.source_layer, "leap": leap, "target_layer": self.target_layer}

    @property
    def policy_columns(self) -> dict[str, int | str]:
        """The pair and its position policy as columns of a table."""
        return {**self.columns, "position_policy": self.position_policy}


def pair_stages(study: Study, settings: OperatorSettings) -> list[PairStage]:
    """The stage of every pair that the settings name, for all methods that need no SAE."""
    methods = tuple(method for method in settings.methods if not METHODS[method].for_features)
    if not methods:
        return []
    jacobians = jacobian_stages(study, settings.pairs) if settings.measured else []
    measured = {of.layers: [of.stage.key] for of in jacobians}

    def stage(source: int, target: int) -> Stage:
        own = _own(study, settings, methods, source, target)
        inputs = [study.collection, *measured.get((source, target), [])]
        return study.stage("operators", _slug(source, target), settings=own, inputs=inputs)

    policy = settings.position_policy
    return [PairStage(*pair, policy, methods, stage(*pair)) for pair in settings.pairs]


def feature_pair_stages(study: Study, settings: OperatorSettings, sae_keys: Sequence[str]) -> list[PairStage]:
    """The stage of every pair and SAE at its target layer, for methods that are optimal for the selected features."""
    methods = tuple(method for method in settings.methods if METHODS[method].for_features)
    if not methods:
        return []
    stages = []
    for sae in sae_rows(study.warehouse, sae_keys):
        chosen = np.sort(selected_features(study.warehouse, study.collection, sae.sae))
        if not len(chosen):
            continue
        decoder = load_judged_sae(study.warehouse, sae).decoder_directions[chosen].double().cpu().numpy()
        features = hashlib.sha256(chosen.tobytes()).hexdigest()[:16]
        for source, target in settings.pairs:
            if target == sae.layer:
                own = _own(study, settings, methods, source, target) | {"features": features}
                slug, inputs = f"{_slug(source, target)}-features", [study.collection, sae.sae]
                stage = study.stage("operators", slug, settings=own, inputs=inputs)
                stages.append(PairStage(source, target, settings.position_policy, methods, stage, decoder))
    return stages


def split_by_source(pairs: Sequence[PairStage], parts: int) -> list[list[PairStage]]:
    """Pairs in at most so many shares of about the same size, none of them empty.

    The pairs of a source stay together, since they share its factorisations, unless that would make one share larger by
    more than a pair. All stages of the same two layers stay together: their operators are versions of one model.
    """
    in_order = sorted(pairs, key=lambda pair: pair.layers)
    ends = [i for i in range(1, len(in_order)) if in_order[i].layers != in_order[i - 1].layers]

    def distance(end: int, wanted: float) -> float:
        return abs(end - wanted) + (in_order[end].source_layer == in_order[end - 1].source_layer)

    wanted = [len(in_order) * part / parts for part in range(1, parts)]
    cuts = sorted({min(ends, key=lambda end: distance(end, place)) for place in wanted}) if ends else []
    bounds = [0, *cuts, len(in_order)]
    return [in_order[start:stop] for start, stop in pairwise(bounds)]


def _slug(source: int, target: int) -> str:
    return f"L{source:02d}-k{target - source:02d}"


def _own(study: Study, settings: OperatorSettings, methods: Sequence[str], source: int, target: int) -> dict[str, Any]:
    own = settings.model_dump(exclude=ELSEWHERE) | {"methods": list(methods)}
    return own | {"source_layer": source, "target_layer": target}
