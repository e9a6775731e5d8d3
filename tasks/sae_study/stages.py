"""The stages of a study of SAEs: each SAE keyed by how it was made, then by how it is judged, then by what is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from ato.errors import LayerError
from ato.sae_studies.baselines import BASELINES, LINEAR
from ato.sae_studies.innovation import InnovationSAE
from ato.sae_studies.innovation_files import load_innovation_sae
from ato.saes import SparseAutoencoder, load_sae
from ato.saes.pretrained import split_release
from ato.saes.training.trainer import training_place
from ato.saes.transcoder import Transcoder
from ato.saes.transcoder_files import load_transcoder_folder
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.settings import SAEStudySettings
from tasks.settings.sae_study import StudiedSAE

RESIDUAL = "resid_post"
ELSEWHERE = ("site", "target_site", "skip", "source_layer", "operator")
"""Settings of an SAE that reads another site than the collection's, of transcoders, and of innovation SAEs."""
TRAINED = ("architecture", "d_sae", "k", "seed", "skip")
"""Settings of those that are trained here; files say them of others."""


@dataclass(frozen=True, order=True)
class Place:
    """What SAEs, transcoders or innovation SAEs read, and write: they are trained and judged in one pass."""

    layer: int
    site: str
    target_site: str = ""
    """Of transcoders."""
    operator: str = ""
    """Key of the operator of innovation SAEs."""
    source_layer: int | None = field(default=None, compare=False)
    """That of the operator."""
    method: str = field(default="", compare=False)
    """Its method."""

    def __str__(self) -> str:
        """In words, for messages."""
        to = f" to {self.target_site}" if self.target_site else ""
        return f"layer {self.layer}" + ("" if self.read == RESIDUAL and not to else f", {self.read}{to}")

    @property
    def read(self) -> str:
        """What is read, as tables have it: the site, less what an operator predicts of it."""
        return f"{self.site} less {self.method} of layer {self.source_layer}" if self.operator else self.site

    @property
    def layers(self) -> list[int]:
        """Layers of the blocks that it is judged on."""
        return [self.layer] if self.source_layer is None else [self.source_layer, self.layer]


@dataclass(frozen=True)
class Member:
    """One SAE, transcoder or innovation SAE of a study, or a baseline, with its stages."""

    of: StudiedSAE
    """What it is; of a baseline, ``architecture`` says nothing."""
    baseline: str | None
    """Its kind, one of ``BASELINES`` or ``LINEAR``; None for an SAE."""
    place: Place
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
        of = self.of
        at = f" at {of.site}" if of.site else ""
        if of.is_innovation:
            at = f" innovation from layer {of.source_layer}" + ("" if of.method == "ridge" else f" by {of.method}")
        if self.baseline == LINEAR:
            return f"{LINEAR}{at}" if of.is_innovation else f"{LINEAR} {of.site} to {of.target_site}"
        if self.baseline is not None:
            return f"{self.baseline} k={of.k}{at}"
        if not of.is_trained:
            return f"{of.path or of.release}"
        kind = ""
        if of.is_transcoder:
            kind, at = f" {'skip ' if of.skip else ''}transcoder", f" {of.site} to {of.target_site}"
        return f"{of.architecture}{kind} k={of.k} {of.d_sae:,} features seed {of.seed}{at}"

    @cached_property
    def sae(self) -> SparseAutoencoder:
        """The SAE itself; of an innovation SAE what reads innovations."""
        return self.innovation.sae if self.of.is_innovation else load_sae(self._folder)

    @cached_property
    def transcoder(self) -> Transcoder:
        """The transcoder itself."""
        return load_transcoder_folder(self._folder, self.layer)

    @cached_property
    def innovation(self) -> InnovationSAE:
        """The innovation SAE itself."""
        return load_innovation_sae(self._folder)

    @property
    def coder(self) -> SparseAutoencoder | Transcoder | InnovationSAE:
        """Whichever of the three it is."""
        if self.of.is_innovation:
            return self.innovation
        return self.transcoder if self.of.is_transcoder else self.sae

    @property
    def _folder(self) -> Path:
        return self.weights.warehouse.artifact_path("studied_saes", self.weights.key)


@dataclass(frozen=True)
class SAEStudy:
    """What all stages of one study of SAEs share."""

    study: Study
    settings: SAEStudySettings
    strata: str | None = None
    """Key of what the corpus says about its documents, where probes read it."""

    @cached_property
    def named(self) -> list[StudiedSAE]:
        """The SAEs of the settings, each once, in whatever words they name it."""
        return list(dict.fromkeys(self._plainly(sae) for sae in self.settings.all_saes))

    @cached_property
    def members(self) -> list[Member]:
        """The SAEs and, behind them, the baselines."""
        saes = [self._member(sae) for sae in self.named]
        return saes + [self._baseline(kind, place, k) for kind, place, k in self._baselines()]

    @property
    def saes(self) -> list[Member]:
        """Those that are no baselines."""
        return [member for member in self.members if member.baseline is None]

    @property
    def layers(self) -> list[int]:
        """Layers that are read."""
        return sorted({sae.layer for sae in self.named})

    def places(self, layer: int) -> list[Place]:
        """What is read at a layer."""
        return sorted({member.place for member in self.members if member.layer == layer})

    @property
    def precision(self) -> str:
        """Of the products in training: ``auto`` is another one on another machine, and makes other weights."""
        return str(training_place(self.study.model.device, self.settings.training.precision)[1])

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
        if not self.named:
            raise LayerError(
                "the study has no SAE", where="sae_study", cure="name architectures and layers, or sae_study.saes"
            )
        sources = {sae.source_layer for sae in self.named if sae.source_layer is not None}
        self.study.check_layers(sorted(sources.union(self.layers)))

    def _plainly(self, sae: StudiedSAE) -> StudiedSAE:
        """Without what it would be without: the collection's own site, and what is trained of one that is not."""
        changes: dict[str, Any] = {}
        if not sae.is_transcoder and sae.site == self.study.row.site:
            changes["site"] = None
        if not sae.is_trained:
            changes |= {name: StudiedSAE.model_fields[name].default for name in TRAINED}
        return sae.model_copy(update=changes)

    def _member(self, sae: StudiedSAE) -> Member:
        looked_at = self._is_looked_at(sae)
        own: dict[str, Any] = {"layer": sae.layer}
        if sae.path is not None:
            read = load_transcoder_folder(sae.path, sae.layer) if sae.is_transcoder else load_sae(sae.path)
            own |= {"path": sae.path, "weights_hash": read.weights_hash}
            slug = f"loaded-L{sae.layer:02d}"
        elif sae.release is not None:
            own |= {"release": ":".join(split_release(sae.release))}
            slug = f"pretrained-L{sae.layer:02d}"
        else:
            training = self.settings.training.model_dump(exclude={"checkpoint_every", "n_snapshots", "track"})
            training["precision"] = self.precision
            snapshots = self.settings.training.n_snapshots if looked_at else 0
            own = sae.model_dump(exclude={"path", "release", "method", *ELSEWHERE})
            own |= {"training": training, "n_snapshots": snapshots}
            kind = f"{sae.architecture}{'-transcoder' * sae.is_transcoder}{'-innovation' * sae.is_innovation}"
            slug = f"{kind}-L{sae.layer:02d}-{sae.d_sae}-k{sae.k}-s{sae.seed}"
        return self._stages(sae, None, slug, own | self._elsewhere(sae))

    def _elsewhere(self, sae: StudiedSAE) -> dict[str, Any]:
        """What its key holds of other sites than the collection's, and of an operator: nothing of most SAEs."""
        return sae.model_dump(include=set(ELSEWHERE), exclude_defaults=True)

    def _place(self, sae: StudiedSAE) -> Place:
        at = Place(sae.layer, sae.site or self.study.row.site, sae.target_site or "")
        if not sae.is_innovation:
            return at
        assert sae.operator is not None  # the task has resolved it, see ``with_operators``
        return replace(at, operator=sae.operator, source_layer=sae.source_layer, method=sae.method)

    def _baseline(self, kind: str, place: Place, k: int) -> Member:
        innovation = (
            {"source_layer": place.source_layer, "method": place.method, "operator": place.operator}
            if place.operator
            else {}
        )
        if kind == LINEAR:
            of_pair = innovation or {"site": place.site, "target_site": place.target_site, "skip": True}
            sae = StudiedSAE(layer=place.layer, d_sae=1, k=k, **of_pair)
            own = {"layer": place.layer, "baseline": kind} | self._elsewhere(sae)
            return self._stages(sae, kind, f"{kind}-L{place.layer:02d}", own)
        d_sae = max(sae.d_sae for sae in self.named if sae.is_trained and self._place(sae) == place)
        own = {"layer": place.layer, "baseline": kind, "k": k} | ({"d_sae": d_sae} if kind == "random" else {})
        sae = self._plainly(StudiedSAE(layer=place.layer, d_sae=d_sae, k=k, site=place.site, **innovation))
        own |= self._elsewhere(sae)
        return self._stages(sae, kind, f"{kind}-L{place.layer:02d}-k{k}", own)

    def _stages(self, sae: StudiedSAE, baseline: str | None, slug: str, own: dict[str, Any]) -> Member:
        study = self.study
        weights = study.stage("sae_study_weights", slug, settings=own, version=2)
        judging = self.settings.judging.model_dump(exclude={"baselines"})
        judged = study.stage(
            "sae_study_quality",
            slug,
            settings=judging,
            inputs=[weights.key, *filter(None, [self.strata])],
            version=2,
        )
        looking = self.settings.looking.model_dump(exclude={"seeds"})
        look = study.stage("sae_study_looks", slug, settings=looking, inputs=[judged.key])
        looked_at = baseline is None and self._is_looked_at(sae)
        return Member(sae, baseline, self._place(sae), looked_at, weights, judged, look)

    def _is_looked_at(self, sae: StudiedSAE) -> bool:
        if sae.is_transcoder:
            return False
        if not sae.is_trained:
            return True
        seeds = self.settings.looking.seeds
        alike = [
            other.seed
            for other in self.named
            if other.is_trained and other.model_copy(update={"seed": sae.seed}) == sae
        ]
        return sae.seed == min(alike) if seeds is None else sae.seed in seeds

    def _baselines(self) -> Sequence[tuple[str, Place, int]]:
        if not self.settings.judging.baselines:
            return []
        trained = [sae for sae in self.named if sae.is_trained]
        ks = sorted({(self._place(sae), sae.k) for sae in trained if not sae.is_transcoder})
        pairs = sorted({self._place(sae) for sae in self.named if sae.is_transcoder or sae.is_innovation})
        return [(kind, place, k) for kind, (place, k) in product(BASELINES, ks)] + [(LINEAR, at, 1) for at in pairs]
