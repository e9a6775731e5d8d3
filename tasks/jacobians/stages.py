"""The stage that each pair's Jacobian is committed under, where its matrix lies, and where those of parts do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ato.errors import InputError, MismatchError, SettingsError
from ato.jacobians import JacobianSums, ProbePlan
from tasks.collect.plan import part_path
from tasks.engine.stage import Stage
from tasks.engine.study import Study

SITE = "resid_post"
NOT_OF_A_PAIR = {"lens"}
"""Settings that stand in a key in another form."""


@dataclass(frozen=True)
class JacobianStage:
    """One pair of layers with its stage."""

    source_layer: int
    target_layer: int
    stage: Stage

    @property
    def layers(self) -> tuple[int, int]:
        """(source, target)."""
        return self.source_layer, self.target_layer

    @property
    def path(self) -> tuple[str, str]:
        """Where the sums over all documents lie among the artifacts."""
        return "jacobians", f"{self.stage.key}.safetensors"

    def part_path(self, part: int) -> tuple[str, str, str]:
        """Where the sums over the documents of a part lie until the pair is done."""
        return part_path(self.stage.collection, f"{self.stage.key}-{part:05d}.safetensors")

    def mean(self) -> np.ndarray:
        """The mean Jacobian [d_out, d_in], float64.

        Raises:
            InputError: it was not measured.
        """
        if not self.stage.complete:
            where = f"{self.source_layer} -> {self.target_layer}"
            raise InputError("the Jacobian was not measured", where=where, cure="run `ato run jacobians` first")
        return JacobianSums.load(self.stage.warehouse.artifact_path(*self.path)).mean()


def jacobian_stages(study: Study, pairs: Sequence[tuple[int, int]]) -> list[JacobianStage]:
    """The stage of every pair: its result depends on no other pair that is measured with it.

    Raises:
        InputError: the file of a lens that the settings name is not there.
    """
    settings = study.jacobians
    own = settings.model_dump(exclude=NOT_OF_A_PAIR)
    if settings.lens is not None:
        own = {"lens": lens_hash(settings.lens)}

    def stage(source: int, target: int) -> Stage:
        slug = f"L{source:02d}-k{target - source:02d}"
        return study.stage("jacobians", slug, settings=own | {"source_layer": source, "target_layer": target})

    return [JacobianStage(*pair, stage(*pair)) for pair in sorted(set(pairs))]


def probe_plan(study: Study) -> ProbePlan:
    """Which rows of which tokens are computed."""
    settings = study.jacobians
    return ProbePlan(settings.probes, settings.positions, settings.seed)


def check_study(study: Study, pairs: Sequence[tuple[int, int]]) -> None:
    """Refuse another site than the residual stream, another model, and layers that were not collected."""
    if study.row.site != SITE:
        raise MismatchError(
            f"Jacobians are of the residual stream ({SITE}), the collection holds {study.row.site}",
            where=study.collection,
            cure=f"collect with collect.site={SITE}",
        )
    study.check_same_model()
    study.check_layers({layer for pair in pairs for layer in pair})


def lens_hash(path: str) -> str:
    """SHA-256 of the file of a lens, first 16 hex digits.

    Raises:
        SettingsError: there is no such file.
    """
    from pathlib import Path

    from ato.io.hashing import file_sha256

    file = Path(path).expanduser()
    if not file.is_file():
        raise SettingsError("there is no such file", where=f"jacobians.lens={path}", cure="check the path")
    return file_sha256(file)[:16]
