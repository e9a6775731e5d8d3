"""The latents of all SAEs scored on the classes of a contrast, and the best of them: train entities alone decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ato.entities.chosen import ChosenActivations
from ato.entities.latent_scores import LatentScores, best_latents
from ato.entities.nulls import FisherP, NullMaxima, Permutations
from ato.saes import SparseAutoencoder
from tasks.engine.model_cache import sae_device
from tasks.entities.contrasts import Contrast
from tasks.saes.task import load_judged_sae
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import SAERow

RATES = "select feature_id, activation_rate from feature_stats where collection = ? and sae = ? order by feature_id"
FIRST, SECOND = 1, -1
"""Directions: the class in which a latent fires more."""


@dataclass(frozen=True, eq=False)
class ScoredSAE:
    """One SAE, and how its latents fire on the classes of a contrast."""

    row: SAERow
    sae: SparseAutoencoder
    scores: LatentScores
    general_rate: np.ndarray
    """[d_sae] share of the collection's test tokens; NaN where it was not measured."""
    silent: np.ndarray
    """[d_sae] bool: active on few tokens of ordinary text, or that was not measured."""

    @cached_property
    def fisher(self) -> FisherP:
        """Tests of single latents on train."""
        return self.scores.fisher_p("train")


@dataclass(frozen=True)
class Ranked:
    """One of the best latents."""

    scored: ScoredSAE
    latent: int
    direction: int
    rank: int
    activations: np.ndarray
    """[n] on all entities of the contrast."""

    @property
    def signed(self) -> np.ndarray:
        """[n] larger in the first class, as far as train tells."""
        return self.activations * self.direction


@dataclass(frozen=True, eq=False)
class ScoredContrast:
    """A contrast with the scores of all latents, and the best of them."""

    contrast: Contrast
    saes: list[ScoredSAE]
    null: NullMaxima
    ranked: list[Ranked]

    def best(self, direction: int) -> Ranked | None:
        """The first of a direction."""
        return next((one for one in self.ranked if one.direction == direction and one.rank == 1), None)


def score_contrast(contrast: Contrast) -> ScoredContrast:
    """One pass of each SAE over its layer's residuals; a second one gathers the activations of the best latents."""
    of, settings = contrast.of, contrast.of.settings.latents
    permutations = Permutations(settings.n_permutations, of.settings.set.seed)
    saes = [_scored(contrast, row, permutations) for row in of.saes]
    null = saes[0].scores.null_maxima()
    for scored in saes[1:]:
        null = null | scored.scores.null_maxima()
    ranked = [one for direction in (FIRST, SECOND) for one in _ranked(contrast, saes, direction)]
    return ScoredContrast(contrast, saes, null, ranked)


def _scored(contrast: Contrast, row: SAERow, permutations: Permutations) -> ScoredSAE:
    of = contrast.of
    sae = load_judged_sae(of.study.warehouse, row).to(sae_device(of.study.model))
    scores = LatentScores(sae.d_sae, contrast.groups, permutations)
    for here, x in contrast.blocks(row.layer):
        scores.update(here, sae.active(x.to(sae.W_enc.device)))
    rate = np.full(sae.d_sae, np.nan)
    for found in rows(of.study.warehouse, RATES, [of.study.collection, row.sae]):
        rate[found["feature_id"]] = found["activation_rate"]
    return ScoredSAE(row, sae, scores, rate, np.isnan(rate) | (rate < of.settings.latents.max_general_rate))


def _ranked(contrast: Contrast, saes: Sequence[ScoredSAE], direction: int) -> list[Ranked]:
    """The best latents of one direction that are silent on ordinary text, of all SAEs together."""
    settings = contrast.of.settings.latents
    train = [scored.scores.scores("train") for scored in saes]
    strength = np.concatenate([t.separation_min if direction == FIRST else -t.separation_max for t in train])
    silent = np.concatenate([scored.silent for scored in saes])
    chosen = best_latents(strength, silent & (strength > 0), settings.n_ranked)
    bounds = np.cumsum([0, *(scored.sae.d_sae for scored in saes)])
    found: list[Ranked] = []
    for number, scored in enumerate(saes):
        own = [i for i, latent in enumerate(chosen) if bounds[number] <= latent < bounds[number + 1]]
        latents = chosen[own] - bounds[number]
        activations = gather(contrast, scored, latents)
        found += [
            Ranked(scored, int(latent), direction, i + 1, activations[:, column])
            for column, (i, latent) in enumerate(zip(own, latents))
        ]
    return sorted(found, key=lambda one: one.rank)


def gather(contrast: Contrast, scored: ScoredSAE, latents: np.ndarray) -> np.ndarray:
    """Activations [n, latents] on all entities of a contrast."""
    gathered = ChosenActivations(len(contrast.rows), latents)
    if len(latents):
        for here, x in contrast.blocks(scored.row.layer):
            gathered.update(here, scored.sae.active(x.to(scored.sae.W_enc.device)))
    return gathered.values
