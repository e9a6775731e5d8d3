"""Is an edge what the model does: features are ablated, and what changes is compared with what the edges say.

One feature's part of its leaf is taken out. In the frozen model the target changes by the edge's weight exactly; in the
model itself, where norms, patterns and gates follow, it changes by about that if the edge is faithful.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import rankdata

from ato.errors import InputError
from ato.graphs.attribution import Attribution
from ato.numerics.counter_rng import uniforms
from ato.numerics.intervals import LEVEL, Estimate, number_or_none

_BATCH = 16
"""Ablations in one pass."""


@dataclass(frozen=True)
class Faithfulness:
    """Edges of a random sample beside the effects of ablating their sources."""

    edge: np.ndarray
    """[n] indices into the graph's edges."""
    weight: np.ndarray
    """[n]."""
    frozen: np.ndarray
    """[n] change of the target in the frozen model: the weight, but for rounding."""
    effect: np.ndarray
    """[n] change of the target in the model itself."""
    control: np.ndarray
    """[n] weight of another edge into the same target, drawn at random; NaN where there is none."""
    pearson: Estimate
    """Of weights and effects, with Fisher's interval: that of independent edges."""
    spearman: Estimate
    """Of their ranks, with the interval of Bonett and Wright (2000)."""
    control_pearson: Estimate
    """Of the control's weights and the effects."""


def faithfulness(made: Attribution, n_edges: int = 200, seed: int = 0, first_position: int = 1) -> Faithfulness:
    """Ablate the sources of a random sample of edges between features, or from features to logits.

    Args:
        made: the graph with what it was made of.
        n_edges: edges drawn, all of them if there are fewer.
        seed: of the draw, which depends on nothing but the edges' ends.
        first_position: of the sources that are drawn. The first token of many models is an attention sink, whose
            activations are hundreds of times as large as others and would decide every correlation.

    Raises:
        InputError: the graph has no such edges.
    """
    graph = made.graph
    from_feature = (graph.kind[graph.source] == "feature") & (graph.position[graph.source] >= first_position)
    between = np.flatnonzero(from_feature & np.isin(graph.kind[graph.target], ["feature", "logit"]))
    if not between.size or n_edges < 1:
        raise InputError("no edge between features or to a logit can be ablated", cure="raise max_features or n_edges")
    drawn = np.argsort(uniforms(seed, graph.source[between], graph.target[between]), kind="stable")[:n_edges]
    edge = np.sort(between[drawn])
    frozen, effect = (ablation_effects(made, edge, frozen=kind) for kind in (True, False))
    weight, control = graph.weight[edge], _others(made, between, edge, seed)
    known = ~np.isnan(control)
    return Faithfulness(
        edge,
        weight,
        frozen,
        effect,
        control,
        pearson(weight, effect),
        spearman(weight, effect),
        pearson(control[known], effect[known]),
    )


@torch.no_grad()
def ablation_effects(made: Attribution, edges: np.ndarray, frozen: bool) -> np.ndarray:
    """[n] values of the edges' targets less those without the edges' sources, all else at the cuts held.

    Args:
        made: the graph with what it was made of.
        edges: [n] indices of edges from features.
        frozen: in the frozen model; else in the model itself.
    """
    graph, sources, local = made.graph, made.sources, made.sources.local
    values = local.values
    base = local.run(values.stream, values.leaves, frozen=frozen)
    found = np.empty(len(edges))
    ablated, place = np.unique(graph.source[edges], return_inverse=True)
    for start in range(0, len(ablated), _BATCH):
        rows = made.selected[ablated[start : start + _BATCH]]
        leaves = [leaf.repeat(len(rows), 1, 1) for leaf in values.leaves]
        for number, row in enumerate(rows):
            leaves[sources.cut[row]][number, sources.position[row]] -= sources.written(row)
        changed = local.run(values.stream.expand(len(rows), -1, -1), leaves, frozen=frozen)
        for index in np.flatnonzero((place >= start) & (place < start + len(rows))):
            reading, position, vector = target_direction(made, int(graph.target[edges[index]]))
            gap = base[reading][0, position] - changed[reading][place[index] - start, position]
            found[index] = float(vector @ gap)
    return found


def pearson(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Correlation with Fisher's 95 % interval; None without variance, limits None below four pairs."""
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return Estimate(None)
    return _with_limits(float(np.corrcoef(x, y)[0, 1]), len(x), 1.0)


def spearman(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Correlation of ranks with the 95 % interval of Bonett and Wright (2000); None as in ``pearson``."""
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return Estimate(None)
    value = float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    return _with_limits(value, len(x), 1 + value**2 / 2)


def _with_limits(value: float, n: int, variance: float) -> Estimate:
    if n < 4:
        return Estimate(value)
    with np.errstate(divide="ignore"):
        middle, reach = np.arctanh(np.clip(value, -1, 1)), ndtri((1 + LEVEL) / 2) * np.sqrt(variance / (n - 3))
    return Estimate(value, number_or_none(np.tanh(middle - reach)), number_or_none(np.tanh(middle + reach)))


def target_direction(made: Attribution, node: int) -> tuple[int, int, torch.Tensor]:
    """Reading, position and vector [d] whose product is a target's value, but for an offset."""
    local, n_logits = made.sources.local, len(made.targets.token_ids)
    if node < len(made.selected):
        row = made.selected[node]
        cut = int(made.sources.cut[row])
        vector = local.encoder_rows(cut, torch.tensor([made.sources.feature[row]]))[0][0]
        return cut, int(made.sources.position[row]), vector
    logit = node - (len(made.graph.kind) - n_logits)
    return len(local.layers), local.n_tokens - 1, made.targets.vectors[logit].to(local.values.stream)


def _others(made: Attribution, between: np.ndarray, edge: np.ndarray, seed: int) -> np.ndarray:
    """[n] weight of a random other edge into each edge's target."""
    graph = made.graph
    found = np.full(len(edge), np.nan)
    for number, own in enumerate(edge):
        others = between[(graph.target[between] == graph.target[own]) & (between != own)]
        if others.size:
            draw = uniforms(seed, 1, int(graph.source[own]), int(graph.target[own]))[0]
            found[number] = graph.weight[others[int(draw * len(others))]]
    return found
