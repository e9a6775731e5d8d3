"""Attribution graphs of a prompt: which features made which, and the logits, with sums that are exact.

1. The model is frozen at the prompt and cut at its SAEs or transcoders (``ato.graphs.local_model``).
2. Edges into the chosen logits are computed, then those into features, most influential first, until the budget is
   spent: many targets in one backward pass.
3. Features outside the budget are counted with the error of their site and position, so that the edges into every node
   still sum to its value.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ato.errors import InputError
from ato.graphs.graph import Graph
from ato.graphs.local_model import Dictionary, LocalModel
from ato.graphs.sources import Rows, Sources
from ato.graphs.targets import LogitTargets, likely_tokens
from ato.models.language_model import LanguageModel

_ROUNDS = 16
"""Times that influence is computed anew while the budget is spent, at least."""
_MEMORY = 4 << 30
"""Bytes that edges may take before the graph is put together."""


@dataclass(frozen=True)
class Attribution:
    """A graph and what it was made of."""

    graph: Graph
    sources: Sources
    targets: LogitTargets
    selected: np.ndarray
    """Rows of ``sources`` that are nodes, ascending: the first nodes of the graph."""


def attribute(
    model: LanguageModel,
    token_ids: Sequence[int],
    dictionaries: Mapping[int, Dictionary],
    choose: Callable[[LanguageModel, Tensor], LogitTargets] = likely_tokens,
    *,
    max_features: int = 1000,
    batch_size: int = 32,
    without: Collection[int] = (),
    half_precision: bool = False,
) -> Attribution:
    """The attribution graph of a prompt.

    An edge from a feature is its activation times the derivative of the target's pre-activation along its decoder row,
    through all that lies between and is not cut. Nodes: the selected features (by layer, position and number), the
    errors of each cut and position, the tokens (with their position embeddings, if any), one constant, the logits.

    Args:
        model: in float32 or float64, or in bfloat16 where that is asked for.
        token_ids: of the prompt, BOS included; the logits are those after the last.
        dictionaries: layer -> SAE of the residual stream, or layer -> transcoder.
        choose: model, state behind the final norm at the last token -> logits; see ``ato.graphs.targets``.
        max_features: nodes for features.
        batch_size: targets in one backward pass; the result does not depend on it, but for rounding.
        without: positions without features: what is there, all is error.
        half_precision: take a model in bfloat16, see ``LocalModel``.

    Raises:
        InputError: of ``LocalModel``, no budget, or one that needs too much memory.
        ModelError: a model without a locally linear form.
    """
    if max_features < 1 or batch_size < 1:
        raise InputError(f"{max_features} features in batches of {batch_size} make no graph", cure="use 1 or more")
    local = LocalModel(model, token_ids, dictionaries, without, half_precision)
    last = local.n_tokens - 1
    targets = choose(model, local.values.readings[-1][0, last])
    sources = Sources(local)
    check_memory(len(sources), max_features, len(targets.token_ids), model.dtype)
    rows: list[list[Rows]] = [[] for _ in range(len(local.layers) + 1)]
    for part in _batches(np.arange(len(targets.token_ids)), batch_size):
        positions = torch.full((len(part),), last)
        of_logits = sources.into(len(local.layers), part, positions, targets.vectors[part], targets.offsets[part])
        rows[-1].append(of_logits)
    visited = np.zeros(len(sources), dtype=bool)
    weights = np.asarray(targets.probabilities)
    while (chosen := _next(sources, rows, weights, visited, max_features)).size:
        for cut in range(len(local.layers)):
            # By position, so that a batch's rows are near each other; rows do not depend on their batch.
            for part in _batches(chosen[sources.cut[chosen] == cut], batch_size):
                rows[cut].append(sources.into_features(cut, part))
        visited[chosen] = True
    selected = np.flatnonzero(visited)
    return Attribution(_assembled(sources, rows, targets, selected), sources, targets, selected)


def check_memory(n_active: int, max_features: int, n_targets: int, dtype: torch.dtype) -> None:
    """Refuse a graph whose edges would not fit, before they are computed.

    Raises:
        InputError: it names the budget that would fit.
    """
    each, n_rows = max(n_active, 1) * dtype.itemsize, min(max_features, n_active) + n_targets
    if n_rows * each > _MEMORY:
        what = f"{n_rows:,} nodes with edges from {n_active:,} active features need {n_rows * each / 2**30:.1f} GiB"
        fits = _MEMORY // each - n_targets
        cure = f"set max_features to {fits:,} or shorten the prompt" if fits > 0 else "shorten the prompt"
        raise InputError(what, cure=cure)


def feature_influence(sources: Sources, rows: Sequence[Sequence[Rows]], weights: np.ndarray) -> np.ndarray:
    """[n] influence of active features on the logits, through the targets whose edges are known.

    Shares of each target's summed magnitudes, from the logits down: a feature's targets are all at later readings.
    """
    influence = np.zeros(len(sources))
    for reading in reversed(range(len(rows))):
        columns = sources.columns(reading)
        for block in rows[reading]:
            own = weights[block.targets] if reading == len(rows) - 1 else influence[block.targets]
            share = own / np.maximum(block.size, np.finfo(np.float32).tiny)
            influence[columns] += share @ np.abs(block.features)
    return influence


def _next(
    sources: Sources, rows: Sequence[Sequence[Rows]], weights: np.ndarray, visited: np.ndarray, most: int
) -> np.ndarray:
    """Features whose edges are computed next, ascending; none when the budget is spent."""
    if most >= len(sources):
        return np.flatnonzero(~visited)
    left = most - int(visited.sum())
    influence = np.where(visited, 0, feature_influence(sources, rows, weights))
    n_rounds = max(_ROUNDS, 2 * len(rows))
    best = np.argsort(-influence, kind="stable")[: min(left, -(-most // n_rounds))]
    return np.sort(best[influence[best] > 0])


def _batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _assembled(sources: Sources, rows: Sequence[Sequence[Rows]], targets: LogitTargets, selected: np.ndarray) -> Graph:
    local, k = sources.local, len(targets.token_ids)
    n_cuts, t, n_selected = len(local.layers), local.n_tokens, len(selected)
    first_token = n_selected + n_cuts * t
    constant = first_token + t
    n_nodes = constant + 1 + k
    node = np.full(len(sources), -1)
    node[selected] = np.arange(n_selected)
    # A feature outside the budget is counted with the error of its cut and position.
    node_or_error = np.where(node >= 0, node, n_selected + sources.cut * t + sources.position)
    total = np.full(n_nodes, np.nan)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for reading, blocks in enumerate(rows):
        cuts = sources.cuts(reading)
        errors = np.arange(n_selected + cuts.start * t, n_selected + cuts.stop * t)
        names = [node_or_error[sources.columns(reading)], errors]
        for block in blocks:
            own = constant + 1 + block.targets if reading == n_cuts else node[block.targets]
            total[own] = block.total
            tokens = np.arange(first_token, first_token + block.tokens.shape[1])
            columns = np.concatenate([*names, tokens, [constant]])
            flat = block.errors.reshape(len(own), -1)
            values = np.concatenate([block.features, flat, block.tokens, block.constant[:, None]], axis=1)
            found.append(_merged(columns, own, values))
    source, target, weight = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((source, target))
    at = np.tile(np.arange(t), n_cuts)
    layers = np.asarray(local.layers)
    return Graph(
        token_ids=local.token_ids,
        kind=np.repeat(["feature", "error", "token", "constant", "logit"], [n_selected, n_cuts * t, t, 1, k]),
        layer=np.concatenate(
            [layers[sources.cut[selected]], np.repeat(layers, t), np.full(t + 1, -1), np.full(k, local.model.n_layers)]
        ),
        position=np.concatenate([sources.position[selected], at, np.arange(t), [0], np.full(k, t - 1)]),
        feature=np.concatenate([sources.feature[selected], np.full(n_cuts * t + t + 1, -1), targets.token_ids]),
        activation=np.concatenate(
            [sources.activation[selected], np.full(n_cuts * t + t + 1, np.nan), targets.probabilities]
        ).astype(np.float64),
        influence=np.full(n_nodes, np.nan),
        source=source[order],
        target=target[order],
        weight=weight[order],
        total=total,
    )


def _merged(columns: np.ndarray, own: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges (source, target, weight) of rows [b, c] whose columns are nodes, those of one node added up; zeros are none."""
    names, place = np.unique(columns, return_inverse=True)
    by_node = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[by_node], np.arange(len(names)))
    summed = np.add.reduceat(values[:, by_node].astype(np.float64), starts, axis=1)
    row, column = np.nonzero(summed)
    return names[column], own[row], summed[row, column]
