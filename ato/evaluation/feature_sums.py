"""Sums over the active tokens of every feature: what the scores of operators on features are made from."""

from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import numpy as np
import torch

from ato.evaluation.active_projections import Projections
from ato.saes.autoencoder import ActiveFeatures

SMALLEST = 1e-6
"""Magnitudes below this count as this in relative errors and logarithms."""

Array = TypeVar("Array", np.ndarray, torch.Tensor)


@dataclass(eq=False)
class GroupSums(Generic[Array]):
    """Sums by group of documents, [groups, d_sae], or [d_sae] over all groups."""

    n: Array
    """Active tokens."""
    a: Array
    """True projections a, less ``b_dec``."""
    aa: Array
    sse: Array
    """[operators, groups, d_sae] squares of p - a, where p is the operator's prediction of a."""


@dataclass(eq=False)
class TokenSums(Generic[Array]):
    """Sums over all active tokens, [operators, d_sae] where nothing else is said."""

    abs_a: Array
    """[d_sae] magnitudes of a, with ``b_dec``."""
    identity_sse: Array
    """[sources, d_sae] squares of x.u - a: the errors of the identity."""
    p: Array
    """Predictions p, less ``b_dec``."""
    pp: Array
    ap: Array
    abs_p: Array
    """Magnitudes of p, with ``b_dec``."""
    relative: Array
    """|p - a| / |a|, with ``b_dec``."""
    log: Array
    """Squares of log |p| / |a|, with ``b_dec``."""


@dataclass(eq=False)
class FeatureSums(Generic[Array]):
    """Sums that grow, part by part."""

    by_group: GroupSums[Array]
    over_all: TokenSums[Array]

    @classmethod
    def zeros(
        cls, n_groups: int, n_operators: int, n_sources: int, d_sae: int, device: torch.device
    ) -> "FeatureSums[torch.Tensor]":
        """Empty sums, float64, on a device; on CPU, pages of them that stay zero take no memory."""

        def zeros(*shape: int) -> torch.Tensor:
            return torch.from_numpy(np.zeros((*shape, d_sae))).to(device)

        groups = GroupSums(zeros(n_groups), zeros(n_groups), zeros(n_groups), zeros(n_operators, n_groups))
        return FeatureSums(
            groups, TokenSums(zeros(), zeros(n_sources), *(zeros(n_operators) for _ in fields(TokenSums)[2:]))
        )

    def add(self: "FeatureSums[torch.Tensor]", part: "FeatureSums[torch.Tensor]", groups: torch.Tensor) -> None:
        """Add sums whose groups of documents have these numbers here."""
        for field in fields(GroupSums):
            getattr(self.by_group, field.name).index_add_(-2, groups, getattr(part.by_group, field.name))
        for field in fields(TokenSums):
            getattr(self.over_all, field.name).add_(getattr(part.over_all, field.name))

    def totals(self: "FeatureSums[torch.Tensor]") -> "FeatureSums[np.ndarray]":
        """The sums over all groups, on the host."""
        groups, tokens = self.by_group, self.over_all
        return FeatureSums(
            GroupSums(*(getattr(groups, field.name).sum(-2).cpu().numpy() for field in fields(groups))),
            TokenSums(*(getattr(tokens, field.name).cpu().numpy() for field in fields(tokens))),
        )


def sums_of_tokens(
    found: Projections, active: ActiveFeatures, group: torch.Tensor, n_groups: int, shift: torch.Tensor
) -> FeatureSums[torch.Tensor]:
    """Sums over active pairs.

    Args:
        found: projections at the pairs.
        active: the pairs.
        group: [tokens] groups of documents, numbered from 0.
        n_groups: number of groups.
        shift: [d_sae] float64, b_dec.u of each feature.
    """
    feature, a, d_sae = active.feature, found.true, len(shift)
    sums = FeatureSums.zeros(n_groups, len(found.predicted), len(found.kept), d_sae, shift.device)
    groups, tokens = sums.by_group, sums.over_all
    code = group.to(feature.device)[active.token] * d_sae + feature
    offset = shift[feature].to(a)
    abs_a = (a + offset).abs_()
    floor_a = abs_a.clamp_min(SMALLEST)
    _add(groups.n, code, torch.ones_like(a))
    _add(groups.a, code, a)
    _add(groups.aa, code, a * a)
    _add(tokens.abs_a, feature, abs_a)
    for row, kept in enumerate(found.kept):
        _add(tokens.identity_sse[row], feature, (a - kept).square_())
    for row, p in enumerate(found.predicted):
        error, abs_p = p - a, (p + offset).abs_()
        _add(groups.sse[row], code, error * error)
        _add(tokens.p[row], feature, p)
        _add(tokens.pp[row], feature, p * p)
        _add(tokens.ap[row], feature, p * a)
        _add(tokens.abs_p[row], feature, abs_p)
        _add(tokens.relative[row], feature, error.abs_().div_(floor_a))
        _add(tokens.log[row], feature, abs_p.clamp_min(SMALLEST).div_(floor_a).log_().square_())
    return sums


def _add(sums: torch.Tensor, index: torch.Tensor, values: torch.Tensor) -> None:
    """Add values [m] to the flattened float64 sums at index [m]."""
    sums.view(-1).scatter_add_(0, index, values.double())
