"""The stages of a study of SAEs: each SAE keyed by how it was made, then by how it is judged, then by what is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from ato.errors import LayerError
from ato.sae_studies.baselines import BASELINES
from ato.saes import SparseAutoencoder, load_sae
from ato.saes.pretrained import split_release
from ato.saes.training.trainer import training_place
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.settings import SAEStudySettings
from tasks.settings.sae_study import StudiedSAE


@dataclass(frozen=True)
class Member:
    """One SAE of a study, or a baseline, with its stages."""

    of: StudiedSAE
    """What it is; of a baseline, ``architecture`` says nothing."""
    baseline: str | None
    """Its kind, one of ``BASELINES``; None for an SAE."""
    looked_at: bool
    """Whether it has snapshots, clusters, a map and attributions."""
    weights: Stage
    judged: Stage
    look: Stage

    @property
    def key(self) -> str:
        """Key of the SAE in the tables of studies."""
        return self.judged.key

    @property
    def layer(self) -> int:
        """Layer that it reads."""
        return self.of.layer

    @property
    def label(self) -> str:
        """Its name in tables and charts."""
        if self.baseline is not None:
            return f"{self.baseline} k={self.of.k}"
        if not self.of.is_trained:
            return f"{self.of.path or self.of.release}"
        width = f" {self.of.d_sae:,} features"
        return f"{self.of.architecture} k={self.of.k}{width} seed {self.of.seed}"

    @cached_property
    def sae(self) -> SparseAutoencoder:
        """The SAE itself."""
        return load_sae(self.weights.warehouse.artifact_path("studied_saes", self.weights.key))


@dataclass(frozen=True)
class SAEStudy:
    """What all stages of one study of SAEs share."""

    study: Study
    settings: SAEStudySettings
    strata: str | None = None
    """Key of what the corpus says about its documents, where probes read it."""

    @cached_property
    def members(self) -> list[Member]:
        """The SAEs and, behind them, the baselines."""
        saes = [self._member(sae) for sae in self.settings.all_saes]
        return saes + [self._baseline(kind, layer, k) for kind, layer, k in self._baselines()]

    @property
    def saes(self) -> list[Member]:
        """Those that are no baselines."""
        return [member for member in self.members if member.baseline is None]

    @property
    def layers(self) -> list[int]:
        """Layers that are read."""
        return sorted({sae.layer for sae in self.settings.all_saes})

    @cached_property
    def whole(self) -> Stage:
        """The stage that says which SAEs are compared, and what two of them have in common."""
        keys = [member.key for member in self.members] + [member.look.key for member in self.looked_at]
        return self.study.stage("sae_studies", "study", settings={}, inputs=keys)

    @property
    def looked_at(self) -> list[Member]:
        """Those that have snapshots, clusters, a map and attributions."""
        return [member for member in self.members if member.looked_at]

    def check(self) -> None:
        """Refuse layers that were not collected.

        Raises:
            LayerError: names them.
        """
        if not self.settings.all_saes:
            raise LayerError(
                "the study has no SAE", where="sae_study", cure="name architectures and layers, or sae_study.saes"
            )
        self.study.check_layers(self.layers)

    def _member(self, sae: StudiedSAE) -> Member:
        looked_at = self._is_looked_at(sae)
        own: dict[str, Any] = {"layer": sae.layer}
        if sae.path is not None:
            own |= {"path": sae.path, "weights_hash": load_sae(sae.path).weights_hash}
            slug = f"loaded-L{sae.layer:02d}"
        elif sae.release is not None:
            own |= {"release": ":".join(split_release(sae.release))}
            slug = f"pretrained-L{sae.layer:02d}"
        else:
            training = self.settings.training.model_dump(exclude={"checkpoint_every", "n_snapshots", "track"})
            # ``auto`` is another precision on another machine, and makes other weights.
            training["precision"] = str(training_place(self.study.model.device, self.settings.training.precision)[1])
            snapshots = self.settings.training.n_snapshots if looked_at else 0
            own = sae.model_dump(exclude={"path", "release"}) | {"training": training, "n_snapshots": snapshots}
            slug = f"{sae.architecture}-L{sae.layer:02d}-{sae.d_sae}-k{sae.k}-s{sae.seed}"
        return self._stages(sae, None, slug, own)

    def _baseline(self, kind: str, layer: int, k: int) -> Member:
        d_sae = max(sae.d_sae for sae in self.settings.all_saes if sae.layer == layer)
        own = {"layer": layer, "baseline": kind, "k": k} | ({"d_sae": d_sae} if kind == "random" else {})
        return self._stages(StudiedSAE(layer=layer, d_sae=d_sae, k=k), kind, f"{kind}-L{layer:02d}-k{k}", own)

    def _stages(self, sae: StudiedSAE, baseline: str | None, slug: str, own: dict[str, Any]) -> Member:
        study = self.study
        weights = study.stage("sae_study_weights", slug, settings=own, version=2)
        judging = self.settings.judging.model_dump(exclude={"baselines"})
        judged = study.stage(
            "sae_study_quality", slug, settings=judging, inputs=[weights.key, *filter(None, [self.strata])]
        )
        looking = self.settings.looking.model_dump(exclude={"seeds"})
        look = study.stage("sae_study_looks", slug, settings=looking, inputs=[judged.key])
        looked_at = baseline is None and self._is_looked_at(sae)
        return Member(sae, baseline, looked_at, weights, judged, look)

    def _is_looked_at(self, sae: StudiedSAE) -> bool:
        if not sae.is_trained:
            return True
        seeds = self.settings.looking.seeds
        alike = [
            other.seed
            for other in self.settings.all_saes
            if other.is_trained and other.model_copy(update={"seed": sae.seed}) == sae
        ]
        return sae.seed == min(alike) if seeds is None else sae.seed in seeds

    def _baselines(self) -> Sequence[tuple[str, int, int]]:
        if not self.settings.judging.baselines:
            return []
        ks = sorted({(sae.layer, sae.k) for sae in self.settings.all_saes if sae.is_trained})
        return [(kind, layer, k) for kind, (layer, k) in product(BASELINES, ks)]
