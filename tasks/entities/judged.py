"""What test entities say of the best latents of a contrast, and of everything that they must beat."""

from functools import cached_property

import numpy as np

from ato.entities.baselines import ProbeScores, linear_probe, oriented_auroc, score_baseline
from ato.entities.contrasts import chosen_on_other_types, cross_type_aurocs
from ato.numerics.auroc import TypeAurocs, auroc_difference
from ato.numerics.false_discovery import benjamini_hochberg
from ato.numerics.intervals import Estimate
from tasks.entities.scored import FIRST, SECOND, Ranked, ScoredContrast, gather

ALL = "all"
"""The row of all types."""


class Judged:
    """A scored contrast with everything that test entities say of its best latents and of the baselines."""

    def __init__(self, scored: ScoredContrast):
        self.scored, self.contrast, self.groups = scored, scored.contrast, scored.contrast.groups
        self.baselines = [score_baseline(name, values, self.groups) for name, values in self.contrast.numbers.items()]
        self.probes: dict[int, ProbeScores] = {
            layer: linear_probe(self.contrast.residuals(layer).numpy(), self.groups, self.contrast.of.settings.set.seed)
            for layer in sorted({one.row.layer for one in scored.saes})
        }
        self.probe_aurocs = {
            layer: oriented_auroc(probe.scores, self.groups, "test", 1) for layer, probe in self.probes.items()
        }
        self.aurocs = [oriented_auroc(one.signed, self.groups, "test", 1) for one in scored.ranked]
        self.separations = [oriented_auroc(np.sign(one.activations), self.groups, "test", 1) for one in scored.ranked]

    @cached_property
    def cross_type(self) -> dict[int, TypeAurocs]:
        """Direction -> AUROC on each type of the latent that is best on all other types."""
        return {direction: self._cross_type(direction) for direction in (FIRST, SECOND)}

    def _cross_type(self, direction: int) -> TypeAurocs:
        saes, groups = self.scored.saes, self.groups
        separation = np.concatenate([one.scores.scores("train").separation for one in saes], axis=1)
        choice = chosen_on_other_types(separation, direction, np.concatenate([one.silent for one in saes]))
        activations, start = np.full((groups.n, groups.n_types), np.nan), 0
        for one in saes:
            own = [t for t, latent in enumerate(choice.latent) if start <= latent < start + one.sae.d_sae]
            activations[:, own] = gather(self.contrast, one, choice.latent[own] - start)
            start += one.sae.d_sae
        test = groups.members("test")
        labels, types = groups.label[test], groups.entity_type[test]
        return cross_type_aurocs(activations[test], choice, labels, types)

    def q(self, number: int) -> dict[str, np.ndarray]:
        """SAE -> q [d_sae] of a type counted from 1, or of all (0), corrected over the latents of all SAEs."""
        saes = self.scored.saes
        p = [one.fisher.over_types if number == 0 else one.fisher.by_type[number - 1] for one in saes]
        bounds, q = np.cumsum([0, *(len(part) for part in p)]), benjamini_hochberg(np.concatenate(p))
        return {one.row.sae: q[bounds[i] : bounds[i + 1]] for i, one in enumerate(saes)}

    @property
    def limit(self) -> float:
        """AUROC of the token count above which classes differ by length."""
        return self.contrast.of.settings.latents.max_length_auroc

    @property
    def types(self) -> tuple[str, ...]:
        """Types of its rows: all of them together, then each."""
        return (ALL, *self.groups.type_names)

    @property
    def length_auroc(self) -> float | None:
        """Of the token count alone."""
        return next(b for b in self.baselines if b.name == "n_tokens").auroc.mean.value

    @cached_property
    def best_baseline(self) -> tuple[str, np.ndarray, float] | None:
        """Name, oriented scores [n] and AUROC of the best baseline, probes of all layers included; None without any."""
        found = [
            (b.name, self.contrast.numbers[b.name] * b.orientation, b.auroc.mean.value)
            for b in self.baselines
            if b.orientation and b.auroc.mean.value is not None
        ]
        found += [
            ("probe", self.probes[layer].scores, aurocs.mean.value)
            for layer, aurocs in self.probe_aurocs.items()
            if aurocs.mean.value is not None
        ]
        return max(found, key=lambda item: item[2], default=None)

    def beats(self, one: Ranked) -> bool | None:
        """Whether a latent is better on test than the best baseline, beyond chance; None where nobody can say."""
        best = self.best_baseline
        test = self.groups.members("test")
        if best is None:
            return None
        labels, types = self.groups.label[test], self.groups.entity_type[test]
        difference = auroc_difference(one.signed[test], best[1][test], labels, types)
        return None if difference.low is None else difference.low > 0


def of_type(aurocs: TypeAurocs, number: int) -> Estimate:
    """The estimate of a type, counted from 1; 0 is all types."""
    return aurocs.mean if number == 0 else aurocs.by_type[number - 1]
