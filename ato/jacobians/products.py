"""Rows of token Jacobians dy/dx by vector-Jacobian products, many tokens in one backward pass.

1. One pass without gradients gives the stream at the lowest source layer, and keys and values of the blocks above.
2. ``same``: each kept token becomes a row of its own behind the keys and values of the tokens before it. These do not
   depend on it, so the derivative through that row is the whole dy(p)/dx(p), and none of another position comes in.
   ``later``: whole sequences run again; a gradient at p then sums what p does at p and at all later positions.
3. A backward pass asks one output coordinate of each token: its gradient is that row of the token's Jacobian.

Only the blocks between the lowest source and the highest target are run with gradients. One backward pass serves all
sources of a target.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ato.errors import ModelError
from ato.models.cached_run import CachedRun, kept_keys_values
from ato.models.language_model import LanguageModel
from ato.numerics.counter_rng import uniforms

Positions = Literal["same", "later"]
POSITIONS: tuple[Positions, ...] = ("same", "later")
PREFIX_POSITIONS = 2**15
"""Keys and values that are held at once and block, for ``same``: of 256 tokens in sequences of 128."""
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class ProbePlan:
    """Which rows of which token's Jacobian are computed."""

    probes: int | None = None
    """Rows of each token; None: all of them, the exact Jacobian."""
    positions: Positions = "same"
    """``same``: dy(p)/dx(p); ``later``: the sum of dy(q)/dx(p) over the kept positions q >= p."""
    seed: int = 0

    def coordinates(self, sequence: np.ndarray, position: np.ndarray, d_out: int) -> np.ndarray:
        """[n, k] int64: the output coordinates of each token, all different; they depend on nothing but the token.

        They are evenly spaced from a start that is uniform over sequences and, for ``same``, moves on by the golden
        ratio from token to token, so that all rows are asked for about as often. For ``later`` all tokens of a sequence
        have the same ones: gradients sum over its positions.

        Args:
            sequence: [n] number of each token's sequence.
            position: [n] its position there.
        """
        k = d_out if self.probes is None else min(self.probes, d_out)
        start = uniforms(self.seed, sequence)
        if self.positions == "same":
            start = (start + position * _GOLDEN) % 1.0
        first = np.floor(start * d_out).astype(np.int64)
        return (first[:, None] + np.arange(k) * d_out // k) % d_out


@dataclass(frozen=True)
class DocumentJacobian:
    """Sums of rows of one document, for ``JacobianSums.update``."""

    rows: np.ndarray
    """[d_out, d_in] float32."""
    count: np.ndarray
    """[d_out] int64."""


@dataclass(frozen=True)
class _Recorded:
    """A pass with gradients of n kept tokens."""

    streams: dict[int, Tensor]
    """Layer -> [b, t, d], sources and targets."""
    at: tuple[Tensor, Tensor]
    """Where the n tokens stand in [b, t]."""
    coordinates: Tensor
    """[n, k] int64."""


def document_jacobians(
    model: LanguageModel,
    sequences: tuple[Tensor, Tensor],
    kept: tuple[np.ndarray, np.ndarray, np.ndarray],
    pairs: Sequence[tuple[int, int]],
    plan: ProbePlan,
) -> dict[tuple[int, int], DocumentJacobian]:
    """Sums of the rows that the plan asks for over the kept tokens of a document. Not in ``torch.inference_mode``.

    Args:
        model: the model.
        sequences: its sequences as ids [b, t], padded on the right, and lengths [b].
        kept: row in these [n], number of the sequence [n] and position [n] of each kept token.
        pairs: (source layer, target layer) of the residual stream; all share the passes.
        plan: which rows.

    Raises:
        LayerError: a layer is not in the model.
        ModelError: ``same`` of a family whose keys and values are not known to work in transformers' plain cache.
    """
    model.check_layers(layer for pair in pairs for layer in pair)
    d = model.d_model
    sums = {pair: torch.zeros(d, d, dtype=torch.float32, device=model.device) for pair in pairs}
    count = torch.zeros(d, dtype=torch.int64, device=model.device)
    sources: dict[int, list[int]] = {}
    for source, target in pairs:
        sources.setdefault(target, []).append(source)
    for recorded in _recorded(model, sequences, kept, pairs, plan):
        k = recorded.coordinates.shape[1]
        count += torch.bincount(recorded.coordinates.flatten(), minlength=d)
        for number, (target, from_layers) in enumerate(sources.items()):
            output, inputs = recorded.streams[target], [recorded.streams[source] for source in from_layers]
            for probe in range(k):
                row = recorded.coordinates[:, probe]
                wanted = torch.zeros_like(output)
                wanted[(*recorded.at, row)] = 1
                last = number == len(sources) - 1 and probe == k - 1
                gradients = torch.autograd.grad(output, inputs, wanted, retain_graph=not last)
                for source, gradient in zip(from_layers, gradients, strict=True):
                    sums[source, target].index_add_(0, row, gradient[recorded.at].float())
    counts = count.cpu().numpy()
    return {pair: DocumentJacobian(found.cpu().numpy(), counts) for pair, found in sums.items()}


def _recorded(
    model: LanguageModel,
    sequences: tuple[Tensor, Tensor],
    kept: tuple[np.ndarray, np.ndarray, np.ndarray],
    pairs: Sequence[tuple[int, int]],
    plan: ProbePlan,
) -> Iterator[_Recorded]:
    ids, lengths = sequences[0].to(model.device), sequences[1]
    row, number, position = kept
    coordinates = plan.coordinates(number, position, model.d_model)
    rows, positions, wanted = (
        torch.from_numpy(np.asarray(x, np.int64)).to(model.device) for x in (row, position, coordinates)
    )
    lowest, layers = min(source for source, _ in pairs), sorted({layer for pair in pairs for layer in pair})
    options: dict[str, Any] = {"stop": layers[-1], "read": layers}
    if plan.positions == "later":
        below = model.run_padded(ids, lengths, read=[lowest], stop=lowest).residuals[lowest]
        stream = below.detach().clone().requires_grad_()
        found = model.run_padded(ids, lengths, start=(lowest, stream), gradients=True, **options).residuals
        yield _Recorded(found | {lowest: stream}, (rows, positions), wanted)
        return
    run = _prefix_run(model, ids, lengths, options, lowest)
    n = max(1, PREFIX_POSITIONS // ids.shape[1])
    for start in range(0, len(rows), n):
        part = slice(start, start + n)
        at, first = rows[part], positions[part]
        prefixes = run.prefixes(at, first, model.n_layers)
        stream = run.residuals[lowest][at, first][:, None].detach().clone().requires_grad_()  # [n, 1, d]
        found = model.forward(
            ids[at, first][:, None],
            prefixes.mask(1),
            start=(lowest, stream),
            cache=prefixes.cache,
            position_ids=first[:, None],
            gradients=True,
            **options,
        ).residuals
        _check_same(model, found, {layer: run.residuals[layer][at, first] for layer in layers})
        zero = torch.zeros_like(at)
        yield _Recorded(found | {lowest: stream}, (torch.arange(len(at), device=at.device), zero), wanted[part])


def _prefix_run(
    model: LanguageModel, ids: Tensor, lengths: Tensor, options: Mapping[str, Any], lowest: int
) -> CachedRun:
    """The pass whose keys and values tokens are run behind."""
    if not model.parts.cache:
        raise ModelError(
            "this family's tokens cannot be run one by one behind the others",
            where=model.identity.model,
            cure="set jacobians.positions=later",
        )
    from transformers import DynamicCache

    # Made without the configuration, the cache keeps all tokens of sliding windows too.
    cache, position = DynamicCache(), torch.arange(ids.shape[1], device=ids.device)[None]
    found = model.run_padded(ids, lengths, cache=cache, position_ids=position, **options)
    keys_values = kept_keys_values(cache, lowest)
    return CachedRun(ids, found.hidden, found.residuals, keys_values, torch.zeros_like(ids[:, 0]))


def _check_same(model: LanguageModel, found: Mapping[int, Tensor], whole: Mapping[int, Tensor]) -> None:
    """Refuse rows that do not do what their tokens do in the whole sequence."""
    for layer, expected in whole.items():
        own, expected = found[layer][:, 0].detach().float(), expected.float()
        gap = float((own - expected).norm() / expected.norm().clamp(min=torch.finfo(torch.float32).tiny))
        if not gap <= torch.finfo(model.dtype).eps ** 0.5:
            raise ModelError(
                f"tokens that are run one by one differ from those of whole sequences by {gap:.1e}",
                where=f"{model.identity.model}, layer {layer}",
                cure="set jacobians.positions=later",
            )
