"""The moments of a study: those of its pairs under its position policy and of the permutation null, from one pass."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import SettingsError
from ato.moments import Moments
from ato.residuals import ResidualBlock, ResidualSource
from ato.residuals.pairing import PairedSource, PermutedSource
from ato.residuals.position_policies import Layer, permuted_key, source_key
from tasks.collect.sources import residual_source
from tasks.collect.work import attention_layers
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.settings import OperatorSettings
from warehouse.storage.warehouse import FileRecord, Warehouse


@dataclass(frozen=True)
class StudyMoments:
    """Moments of all pairs."""

    own: Moments
    """Under the keys that ``ato.residuals.pairing`` gives to the paired rows; all splits."""
    permuted: Moments | None
    """Train rows with the documents of y shuffled against x, positions kept; None where the settings leave it out."""

    def permuted_pair(self, source: int, target: int) -> tuple[Moments, tuple[Layer, int]]:
        """The moments of the permutation null, and the keys of one pair in them."""
        if self.permuted is None:
            raise SettingsError(
                "the moments have no permutation null", cure="set operators.permutation_null=true and run again"
            )
        return self.permuted, (permuted_key(source), target)


class MomentsPass:
    """A consumer that gathers the moments of a study from the blocks of a source.

    Args:
        source: whose blocks it will be given.
        settings: name the pairs, the policy, the shares of the train documents, whether there is a permutation null.
    """

    def __init__(self, source: ResidualSource, settings: OperatorSettings):
        policy = settings.position_policy
        self._paired = PairedSource(source, settings.pairs, policy)
        self._shuffled = PermutedSource(source, settings.pairs)
        keyed = [(source_key(*pair, policy), pair[1]) for pair in settings.pairs]
        cuts = [fraction for fraction in settings.train_fractions if fraction < 1]
        own = Moments(keyed, n_folds=source.n_folds, cuts=cuts)
        shuffled = [(permuted_key(source), target) for source, target in settings.pairs]
        self.moments = StudyMoments(own, Moments(shuffled, n_folds=1) if needs_permutation_null(settings) else None)

    def update(self, block: ResidualBlock) -> "MomentsPass":
        """Take a block of all layers into account."""
        self.moments.own.update(self._paired.pair(block))
        if self.moments.permuted is not None and (block.group < self._paired.n_folds).any():
            self._update_permuted(block)
        return self

    def _update_permuted(self, block: ResidualBlock) -> None:
        tokens, partners = self._shuffled.matched(block)
        train = block.group[tokens] < self._paired.n_folds
        residuals: dict[Layer, torch.Tensor] = {}
        rows: dict[Layer, np.ndarray] = {}
        for source, target in self._shuffled.pairs:
            residuals |= {permuted_key(source): block.residuals[source], target: block.residuals[target]}
            rows |= {permuted_key(source): partners[train], target: tokens[train]}
        assert self.moments.permuted is not None
        self.moments.permuted.update(residuals, fold=0, rows=rows)


def needs_permutation_null(settings: OperatorSettings) -> bool:
    """Whether moments of shuffled documents are among those that the settings need."""
    return settings.permuted


def moments_stage(warehouse: Warehouse, collection: str, settings: OperatorSettings) -> Stage:
    """The stage whose artifacts are the moments that these settings need of a collection."""
    own = {
        "pairs": sorted(map(list, settings.pairs)),
        "position_policy": settings.position_policy,
        "train_fractions": sorted(settings.train_fractions),
        "permutation_null": needs_permutation_null(settings),
    }
    slug = f"moments-{len(settings.pairs)}-pairs"
    return Stage(warehouse, "moments", slug, settings=own, inputs=[collection], collection=collection)


def publish_moments(stage: Stage, moments: StudyMoments) -> None:
    """Write and commit the artifacts of a moments stage."""
    with stage:
        stage.add(*write_moments(stage, moments))


def write_moments(stage: Stage, moments: StudyMoments) -> list[FileRecord]:
    """Write the artifacts of a moments stage, for the process that commits it."""
    files = [stage.warehouse.publish_artifact(moments.own.save, *_path(stage))]
    if moments.permuted is not None:
        files.append(stage.warehouse.publish_artifact(moments.permuted.save, *_path(stage, "-permuted")))
    return files


def load_moments(study: Study, settings: OperatorSettings, pairs: Iterable[tuple[int, int]]) -> StudyMoments:
    """The moments of some (source layer, target layer) that ``publish_moments`` wrote for these settings."""
    warehouse, policy, pairs = study.warehouse, settings.position_policy, list(pairs)
    stage = moments_stage(warehouse, study.collection, settings)
    keyed = [(source_key(*pair, policy), pair[1]) for pair in pairs]
    own = Moments.load(warehouse.artifact_path(*_path(stage)), keyed)
    if not needs_permutation_null(settings):
        return StudyMoments(own, None)
    shuffled = [(permuted_key(source), target) for source, target in pairs]
    return StudyMoments(own, Moments.load(warehouse.artifact_path(*_path(stage, "-permuted")), shuffled))


def _path(stage: Stage, suffix: str = "") -> tuple[str, str]:
    return ("moments", f"{stage.key}{suffix}.safetensors")


def paired_source(study: Study, settings: OperatorSettings) -> ResidualSource:
    """The residuals of a study's collection as pairs of source and target rows."""
    source = residual_source(study, attention_layers(settings))
    return PairedSource(source, settings.pairs, settings.position_policy)
