"""Why a head looked where it did: an attention score as a sum over pairs of what asked and what answered.

The score of a head for two positions is the scaled product of a query and a key. With the norms held (those of queries
and keys included) and positions rotated in, both are affine in what the prompt's features, errors and tokens write: each
is the sum of their vectors and a constant one, and the score the sum over pairs of their products, exactly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ato.errors import InputError, ModelError, QualityError
from ato.graphs.attribution import Attribution
from ato.graphs.checks import TOLERANCE
from ato.graphs.frozen import Attended

_BLOCK = 1024
"""Rows of pairs that are multiplied at once."""
_TOLERANCE = 1e-3
"""Of an attention weight by the formula here and by the model; half precision needs that much."""


class Look(NamedTuple):
    """A head, from one position to another."""

    layer: int
    head: int
    query_position: int
    key_position: int


@dataclass(frozen=True)
class Writers:
    """What of the prompt makes a query or a key: arrays of n nodes whose vectors sum to it."""

    kind: np.ndarray
    """[n] str: feature, error, token or constant."""
    layer: np.ndarray
    """[n]; -1 of tokens and the constant."""
    position: np.ndarray
    """[n]; 0 of the constant."""
    feature: np.ndarray
    """[n]; -1 of what is no feature."""
    vectors: np.ndarray
    """[n, d_head] float64."""


@dataclass(frozen=True)
class TracedScore:
    """A score and what makes it."""

    look: Look
    score: float
    """Scaled product of query and key, before soft cap and mask."""
    mean_score: float
    """Of all positions up to the query's: softmax knows differences alone."""
    query: Writers
    """Vectors are scaled."""
    key: Writers

    @property
    def residual(self) -> float:
        """|query . key of the summed vectors - score|, relative to the product of their sizes."""
        query, key = self.query.vectors, self.key.vectors
        size = float(np.abs(query).sum(0) @ np.abs(key).sum(0))
        gap = abs(float(query.sum(0) @ key.sum(0)) - self.score)
        return gap / max(size, abs(self.score)) if gap else 0.0

    def largest(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Query node, key node and weight of the n pairs of largest magnitude [n], in that order, and the sum of all others.

        Memory is that of a block of rows, not of all pairs.
        """
        rows, columns = np.empty(0, np.int64), np.empty(0, np.int64)
        weights, summed = np.empty(0), 0.0
        for start in range(0, len(self.query.vectors), _BLOCK):
            block = self.query.vectors[start : start + _BLOCK] @ self.key.vectors.T
            summed += float(block.sum())
            best = np.argsort(-np.abs(block), axis=None, kind="stable")[:n]
            row, column = np.unravel_index(best, block.shape)
            rows, columns = np.append(rows, row + start), np.append(columns, column)
            weights = np.append(weights, block[row, column])
            order = np.argsort(-np.abs(weights), kind="stable")[:n]
            rows, columns, weights = rows[order], columns[order], weights[order]
        return rows, columns, weights, summed - float(weights.sum())


def trace_scores(made: Attribution, looks: Sequence[Look]) -> Iterator[TracedScore]:
    """The scores of heads, from one position to another each.

    Args:
        made: the graph with what it was made of.
        looks: where to.

    Raises:
        InputError: a block, a head or a position that there is not, or a position behind the query's.
        ModelError: attention whose weights are not the softmax of such scores.
        QualityError: parts that do not sum to the score to the precision of the model.
    """
    local = made.sources.local
    for look in looks:
        known = 0 <= look.layer < local.model.n_layers
        known = known and 0 <= look.head < local.frozen.pattern(look.layer).shape[1]
        if not known or not 0 <= look.key_position <= look.query_position < local.n_tokens:
            raise InputError(f"no head looks like this: {look}", cure="count blocks, heads and positions from 0")
    tracer = _Tracer(made) if looks else None
    for look in looks:
        assert tracer is not None
        yield tracer.trace(look)


class _Tracer:
    def __init__(self, made: Attribution):
        self._sources, self._local = made.sources, made.sources.local
        local = self._local
        self._inputs = [leaf.clone().requires_grad_() for leaf in (local.values.stream, *local.values.leaves)]
        self._found = self._watched(self._inputs, gradients=True)
        biases = [local.bias(cut).expand_as(leaf) for cut, leaf in enumerate(local.values.leaves)]
        self._constant = self._watched([torch.zeros_like(local.values.stream), *biases], gradients=False)

    def trace(self, look: Look) -> TracedScore:
        layer, head, at, to = look
        local = self._local
        found, (scale, cap) = self._found[layer], local.frozen.scaling(layer)
        per_key = found.query.shape[1] // found.key.shape[1]
        with torch.no_grad():
            keys = found.key[0, head // per_key, : at + 1].double()
            scores = keys @ found.query[0, head, at].double() * scale
        self._check(look, scores, cap)
        query, key = self._writers(look, "query", head, at), self._writers(look, "key", head // per_key, to)
        scaled = Writers(query.kind, query.layer, query.position, query.feature, query.vectors * scale)
        traced = TracedScore(look, float(scores[to]), float(scores.mean()), scaled, key)
        precision = str(local.model.dtype).removeprefix("torch.")
        if (gap := traced.residual) > TOLERANCE[precision]:
            what = f"parts of a score of block {layer} do not sum to it: relative residual {gap:.1e}, at most {TOLERANCE[precision]:g}"
            cure = "use float32, in which this family rotates queries and keys, or set n_traced_scores to 0"
            raise QualityError(what, where=local.model.identity.model, cure=cure)
        return traced

    def _watched(self, inputs: Sequence[Tensor], gradients: bool) -> dict[int, Attended]:
        found: dict[int, Attended] = {}

        def watch(attended: Attended) -> Tensor:
            found[attended.layer] = attended
            return attended.output

        with self._local.frozen.watched(watch):
            self._local.run(inputs[0], inputs[1:], gradients=gradients)
        return found

    def _check(self, look: Look, scores: Tensor, cap: float | None) -> None:
        pattern = self._local.frozen.pattern(look.layer)[0, look.head, look.query_position, : len(scores)].double()
        capped = scores if cap is None else cap * torch.tanh(scores / cap)
        expected = torch.softmax(torch.where(pattern > 0, capped, -torch.inf), 0)
        if not float((expected - pattern).abs().max()) <= _TOLERANCE:
            what = f"attention of block {look.layer} is not the softmax of products of queries and keys alone"
            raise ModelError(what, where=self._local.model.identity.model, cure="set n_traced_scores to 0")

    def _writers(self, look: Look, name: str, head: int, position: int) -> Writers:
        sources, local = self._sources, self._local
        leaves = local.sources_of_block(look.layer)
        output = getattr(self._found[look.layer], name)[0, head, position]
        eye = torch.eye(len(output), dtype=output.dtype, device=output.device)
        inputs = [self._inputs[leaf] for leaf in leaves]
        gradients = torch.autograd.grad(output, inputs, eye, retain_graph=True, is_grads_batched=True)
        with torch.no_grad():
            features, errors, tokens = sources.split(leaves, [gradient[:, 0] for gradient in gradients])
            constant = getattr(self._constant[look.layer], name)[0, head, position]
            parts = [features, errors.flatten(1), tokens, constant[:, None]]
            vectors = torch.cat(parts, dim=1).T.double().cpu().numpy()
        cuts, t = range(max(leaves.start - 1, 0), leaves.stop - 1), local.n_tokens
        own = slice(sources.starts[cuts.start], sources.starts[cuts.stop]) if cuts else slice(0, 0)
        layers, n_other = np.asarray(local.layers, np.int64), tokens.shape[1] + 1
        counts = [features.shape[1], len(cuts) * t, tokens.shape[1], 1]
        kind = np.repeat(["feature", "error", "token", "constant"], counts)
        of_cuts = layers[cuts.start : cuts.stop]
        layer = np.concatenate([layers[sources.cut[own]], np.repeat(of_cuts, t), np.full(n_other, -1)])
        at = np.concatenate([sources.position[own], np.tile(np.arange(t), len(cuts)), np.arange(tokens.shape[1]), [0]])
        feature = np.concatenate([sources.feature[own], np.full(len(cuts) * t + n_other, -1)])
        there = vectors.any(1)
        return Writers(kind[there], layer[there], at[there], feature[there], vectors[there])
