"""A closer look at SAEs of a study: its training in snapshots, clusters, a map, effects of its features on the loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from ato.features.stats import FeatureStats
from ato.features.token_samples import FeatureTokens, TokenSample
from ato.numerics.intervals import number_or_none
from ato.residuals import ResidualBlock, run_pass
from ato.sae_studies.clusters import ClusterSettings, cluster_features
from ato.sae_studies.dictionaries import decoder_redundancy
from ato.sae_studies.emergence import Emergence
from ato.sae_studies.maps import MapSettings, map_features
from ato.sae_studies.snapshots import Snapshot
from ato.saes import SharedEncoding, SparseAutoencoder
from ato.saes.autoencoder import ActiveFeatures
from ato.text.token_texts import TokenTexts
from tasks.engine.model_cache import language_model, sae_device
from tasks.engine.progress import phase, say
from tasks.engine.stage import Stage
from tasks.sae_study.attribution import write_attribution
from tasks.sae_study.emergence_rows import write_emergence
from tasks.sae_study.operators import place_source
from tasks.sae_study.stages import Member, SAEStudy
from tasks.sae_study.weights import snapshots_of
from warehouse.datasets.strata import strata_of

TOKENS_SHOWN = 8
"""Tokens on which a feature fires most, each once, that the map shows."""
_TOKENS_KEPT = 24
FEWEST = 2
"""Living features below which there is nothing to cluster."""


@dataclass(frozen=True)
class _Living:
    """How the features fire on held-out text."""

    rate: np.ndarray
    """[d_sae]."""
    largest: np.ndarray
    """[d_sae] largest activation; NaN of features that never fire."""
    top: FeatureTokens

    @property
    def active(self) -> np.ndarray:
        """[d_sae] bool."""
        return self.rate > 0


def say_how_maps_are_made(of: SAEStudy) -> None:
    """One line where maps could be better than they will be."""
    if of.settings.looking.map_method == "auto" and find_spec("umap") is None:
        say("sae_study", "maps are made by PCA: UMAP is not installed (pip install 'ato-platform[maps]')")


def look_at(of: SAEStudy, members: Sequence[Member]) -> None:
    """Follow the features of SAEs of one place through training, cluster and map them, and see what they do to the loss.

    The held-out text is read once for all of them.
    """
    if not members:
        return
    place = members[0].place
    with phase("sae_study", f"{place}: test tokens read by {len(members)} SAEs and their snapshots"):
        readings = [_Reading(of, member) for member in members]
        consumers = [consumer for reading in readings for consumer in reading.consumers]
        source = place_source(of.study, place)
        run_pass(source, consumers, layers=[place.layer], splits=["test"])
    for reading in readings:
        _write_look(of, reading)


def _write_look(of: SAEStudy, reading: "_Reading") -> None:
    member, living = reading.member, reading.living()
    with member.look as stage, phase("sae_study", f"{member.label}: a closer look"):
        if reading.emergence is not None:
            write_emergence(stage, member.key, reading.emergence.result())
        if living.active.sum() >= FEWEST:
            _write_clusters(of, member, stage, living)
            _write_map(of, member, stage, living)
        else:
            say("sae_study", f"{member.label}: {living.active.sum()} features fire on held-out text, too few for a map")
        if of.settings.looking.attribution_sequences:
            write_attribution(of, member, stage, living.active)


class _Sampled:
    """A token sample as a consumer of one SAE's encoding."""

    def __init__(self, sample: TokenSample):
        self.sample = sample

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> object:
        assert active is not None
        return self.sample.update(block, active)


class _Reading:
    """What one pass over the test tokens gathers of one SAE and all its snapshots."""

    def __init__(self, of: SAEStudy, member: Member):
        device = sae_device(of.study.model)
        sae: SparseAutoencoder = member.sae.to(device)
        self.member = member
        self._stats, self._sample = FeatureStats(sae, member.layer), _Sampled(TokenSample(sae.d_sae, _TOKENS_KEPT))
        self.consumers: list[Any] = [SharedEncoding(sae, member.layer, [self._stats, self._sample])]
        batch = of.settings.training.batch_size
        self.emergence: Emergence | None = None
        if kept := snapshots_of(member):
            snapshots = [Snapshot(one.to(device), step, step * batch) for step, one in kept]
            strata = strata_of(of.study.warehouse, of.study.collection, of.strata) if of.strata else {}
            first = next(iter(strata.values()), None)
            cosine = of.settings.looking.emerged_cosine
            self.emergence = Emergence(snapshots, member.layer, cosine=cosine, strata=first)
            self.consumers.append(self.emergence)

    def living(self) -> _Living:
        found = self._stats.result()
        return _Living(found.activation_rate, found.max_activation, self._sample.sample.result())


def _write_clusters(of: SAEStudy, member: Member, stage: Stage, living: _Living) -> None:
    looking = of.settings.looking
    method = "hdbscan" if looking.cluster_method == "auto" else looking.cluster_method
    n_clusters = min(looking.n_clusters, int(living.active.sum())) if method == "kmeans" else None
    found = cluster_features(member.sae, living.active, ClusterSettings(method=method, n_clusters=n_clusters))
    rows = []
    for feature, cluster in zip(found.feature_id.tolist(), found.cluster.tolist(), strict=True):
        named = cluster >= 0
        stable = named and not (found.unstable or found.cluster_unstable[cluster])
        rows.append(
            {
                "feature_id": feature,
                "method": method,
                "cluster": cluster if named else None,
                "cluster_size": int(found.size[cluster]) if named else None,
                "stability": number_or_none(found.stability),
                "stability_by_chance": number_or_none(found.stability_by_chance),
                "cluster_stability": number_or_none(found.cluster_stability[cluster]) if named else None,
                "stable": stable if named else None,
                "versions": _listed(found.versions),
            }
        )
    _write(stage, "feature_clusters", member.key, rows)


def _write_map(of: SAEStudy, member: Member, stage: Stage, living: _Living) -> None:
    found = map_features(member.sae, living.active, MapSettings(method=of.settings.looking.map_method))
    alike = decoder_redundancy(member.sae.W_dec, living.active)
    tokens = _top_tokens(living.top)
    texts = TokenTexts(language_model(of.study.model).tokenizer)
    rows = []
    for feature, x, y in zip(found.feature_id.tolist(), found.x.tolist(), found.y.tolist(), strict=True):
        ids, values = tokens.get(feature, ([], []))
        rows.append(
            {
                "feature_id": feature,
                "method": found.method,
                "x": x,
                "y": y,
                "activation_rate": float(living.rate[feature]),
                "max_activation": number_or_none(living.largest[feature]),
                "token_ids": ids,
                "tokens": texts.of(np.array(ids)),
                "activations": values,
                "trustworthiness": number_or_none(found.trustworthiness),
                "trustworthiness_pca": number_or_none(found.trustworthiness_pca),
                "nearest": int(alike.nearest[feature]) if alike.nearest[feature] >= 0 else None,
                "nearest_cosine": number_or_none(alike.largest[feature]),
                "versions": _listed(found.versions),
            }
        )
    _write(stage, "feature_map", member.key, rows)


def _top_tokens(top: FeatureTokens) -> dict[int, tuple[list[int], list[float]]]:
    """Feature -> the token ids of its largest activations, each once, with these."""
    found: dict[int, dict[int, float]] = {}
    for feature, token, value in zip(top.feature.tolist(), top.token_id.tolist(), top.value.tolist(), strict=True):
        own = found.setdefault(feature, {})
        if len(own) < TOKENS_SHOWN:
            own.setdefault(token, value)
    return {feature: (list(own), list(own.values())) for feature, own in found.items()}


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _write(stage: Stage, table: str, sae: str, rows: list[dict[str, Any]]) -> None:
    own = {"collection": stage.collection, "sae": sae}
    stage.write(table, [row | own for row in rows], sae=sae)
