"""All that labelling shows of chosen features, from two passes: one over all tokens, one over those of windows.

The first pass chooses tokens and sums counts, and needs one encoding of each block, whatever it is shared with. What is
shown is then known, and the second pass encodes only the tokens of windows::

    first = [EvidenceTokens(sae, layer, features, n_folds=source.n_folds, strata=strata) for sae, layer, features in ...]
    evidence = collect_evidence(first, source, lengths)

Or pass by pass, where each pass shows its progress, or shards are added (``+``)::

    run_pass(source, [SharedEncoding(e.sae, e.layer, [e, others]) for e in first])
    second = [e.windows(lengths) for e in first]
    run_pass(source, second)
    evidence = [w.result() for w in second]
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import fields

import numpy as np
import torch

from ato.errors import InputError, MismatchError
from ato.features.activation_histograms import ActivationHistograms
from ato.features.coactivation import CoFiringCounts, Neighbours, coactivation_neighbours, cosine_neighbours
from ato.features.evidence_windows import EvidencePlan, LabelEvidence, WindowsPass
from ato.features.examples import ExampleTokens
from ato.features.silent_windows import SilentWindows, TextPool
from ato.features.strata import Stratum
from ato.features.strata_rates import StrataRates
from ato.features.token_samples import FeatureTokens
from ato.residuals.blocks import ResidualBlock, ResidualSource, run_pass
from ato.saes.autoencoder import ActiveFeatures
from ato.saes.feature_source import FeatureSource
from ato.saes.shared_encoding import SharedEncoding
from ato.text.splits import in_splits

HELD_OUT = ("val", "test")
_NEAR_CANDIDATES = 6
"""Candidates for near misses, for each that is wanted."""


class EvidenceTokens:
    """Accumulates, in the first pass, what windows are chosen from, and all counts.

    Memory is d_sae x (tokens of the plan + bins + parts) and chosen x d_sae, whatever the number of tokens. The order and
    the size of blocks change nothing but the rounding of sums.

    Args:
        sae: the SAE, or what else has features.
        layer: layer whose residuals it reads.
        features: the chosen.
        n_folds: of the source, whose groups tell train, val and test apart.
        strata: what divides the text.
        match: name of the stratum that silent windows of ``same_stratum`` are drawn by; default the first one.
        plan: how much.

    Raises:
        InputError: a feature beyond the SAE or named twice, or no such stratum.
    """

    def __init__(
        self,
        sae: FeatureSource,
        layer: int,
        features: np.ndarray,
        *,
        n_folds: int,
        strata: Sequence[Stratum] = (),
        match: str | None = None,
        plan: EvidencePlan | None = None,
    ):
        self.sae, self.layer, self.plan = sae, layer, EvidencePlan() if plan is None else plan
        p, self._n_folds = self.plan, n_folds
        names = [stratum.name for stratum in strata]
        if match is not None and match not in names:
            raise InputError(f"there is no stratum {match}", cure=f"use one of {', '.join(names) or 'none'}")
        matched = strata[0 if match is None else names.index(match)] if strata else None
        self._match = None if matched is None else matched.name
        self._cofiring = CoFiringCounts(sae.d_sae, features)
        self.histograms, self.rates = ActivationHistograms(sae.d_sae), StrataRates(sae.d_sae, strata)
        counts = {"train": (p.n_top, p.n_random, p.n_quantiles)}
        counts |= dict.fromkeys(HELD_OUT, (p.n_held_out_top, p.n_held_out_random, 0))
        self._examples = {
            split: ExampleTokens(sae, layer, *own, one_per="document", seed=p.seed) for split, own in counts.items()
        }
        self._pools = {split: TextPool(p.pool, matched, seed=p.seed) for split in HELD_OUT}

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "EvidenceTokens":
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        active = self.sae.active(block.residuals[self.layer]) if active is None else active
        self.histograms.update(active)
        self.rates.update(block, active)
        self._cofiring.update(active)
        for split, examples in self._examples.items():
            mask = in_splits(block.group, [split], self._n_folds)
            if mask.any():
                rows, own = (block, active) if mask.all() else _selected(block, active, mask)
                examples.update(rows, own)
                if split in self._pools:
                    self._pools[split].update(rows)
        return self

    def __add__(self, other: "EvidenceTokens") -> "EvidenceTokens":
        """What both streams offer.

        Raises:
            MismatchError: they are of different SAEs, layers, features, strata or plans.
        """
        own, others = ((e.layer, e.plan, e._n_folds, e._match, e.sae.weights_hash) for e in (self, other))
        if own != others:
            raise MismatchError("evidence of different plans cannot be added", cure="collect both alike")
        total = copy(self)
        total._cofiring = self._cofiring + other._cofiring
        total.histograms = self.histograms + other.histograms
        total.rates = self.rates + other.rates
        total._examples = {split: one + other._examples[split] for split, one in self._examples.items()}
        total._pools = {split: pool + other._pools[split] for split, pool in self._pools.items()}
        return total

    def windows(self, lengths: Mapping[int, int]) -> "WindowsPass":
        """The consumer of the second pass.

        Args:
            lengths: sequence id -> tokens in the sequence.
        """
        chosen = {split: tokens.choose(self._cofiring.features) for split, tokens in self._examples.items()}
        coactivation = coactivation_neighbours(self._cofiring.result(), self.plan.n_neighbours)
        cosine = cosine_neighbours(self.sae.decoder_directions, self._cofiring.features, self.plan.n_neighbours)
        both = Neighbours(
            **{f.name: np.append(getattr(coactivation, f.name), getattr(cosine, f.name)) for f in fields(Neighbours)}
        )
        p, rates = self.plan, self.rates.result()
        # Enough candidates for near misses: several times as many as are wanted, of all neighbours together.
        each = -(-_NEAR_CANDIDATES * p.n_silent // max(2 * p.n_neighbours, 1))
        silent = {
            split: SilentWindows(
                self.sae.d_sae,
                self._cofiring.features,
                pool.result(),
                both,
                _first_of_each(self._examples[split].sampled(), each),
                lengths,
                before=p.before,
                after=p.after,
            )
            for split, pool in self._pools.items()
        }
        found = self._cofiring.features, self.histograms.result(), rates, coactivation, cosine
        return WindowsPass(self.sae, self.layer, p, chosen, silent, self._match, found, lengths)


def collect_evidence(
    first: Sequence[EvidenceTokens],
    source: ResidualSource,
    lengths: Mapping[int, int],
    on_block: Callable[[ResidualBlock], None] | None = None,
) -> list[LabelEvidence]:
    """Both passes over a source for any number of SAEs.

    Args:
        first: one for each SAE.
        source: of the residuals of their layers, all splits.
        lengths: sequence id -> tokens in the sequence.
        on_block: told each block of both passes.
    """
    layers = sorted({one.layer for one in first})
    run_pass(source, [SharedEncoding(one.sae, one.layer, [one]) for one in first], layers=layers, on_block=on_block)
    second = [one.windows(lengths) for one in first]
    run_pass(source, second, layers=layers, on_block=on_block)
    return [one.result() for one in second]


def _first_of_each(tokens: FeatureTokens, n: int) -> FeatureTokens:
    """The first n tokens of every feature."""
    kept = tokens.rank < n
    return FeatureTokens(**{name: column[kept] for name, column in vars(tokens).items()})


def _selected(block: ResidualBlock, active: ActiveFeatures, mask: np.ndarray) -> tuple[ResidualBlock, ActiveFeatures]:
    """The keys and active features of some tokens."""
    kept = torch.from_numpy(mask).to(active.token.device)
    row = torch.cumsum(kept, 0) - 1
    mine = kept[active.token].nonzero().squeeze(1)
    own = ActiveFeatures(int(mask.sum()), row[active.token[mine]], active.feature[mine], active.value[mine])
    return block.at([]).select(mask), own
