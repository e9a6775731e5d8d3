"""Checks of a graph: do its edges sum to its nodes' values, and is it the same again."""

import numpy as np

from ato.errors import QualityError
from ato.graphs.graph import Graph

TOLERANCE = {"float32": 1e-4, "float64": 1e-9, "bfloat16": float("inf")}
"""Largest relative residual of conservation, by the model's precision; in bfloat16 rounding alone decides it."""


def conservation_residual(graph: Graph) -> np.ndarray:
    """[n] |sum of the edges into a node - its value|, relative to the sum of their magnitudes; NaN of leaves.

    Edges of opposite sign cancel: relative to what is left of them, rounding alone can be large.
    """
    n = len(graph.total)
    summed = np.bincount(graph.target, weights=graph.weight, minlength=n)
    size = np.bincount(graph.target, weights=np.abs(graph.weight), minlength=n)
    with np.errstate(invalid="ignore"):
        gap = np.abs(summed - graph.total)
        size = np.maximum(size, np.abs(graph.total))
        relative: np.ndarray = np.divide(gap, size, out=np.where(np.isnan(gap), np.nan, gap), where=size > 0)
    return relative


def check_conservation(graph: Graph, precision: str) -> float:
    """The largest ``conservation_residual``.

    Raises:
        QualityError: it is more than ``TOLERANCE`` of the precision, or no number where a node has a value.
    """
    residual = conservation_residual(graph)[~np.isnan(graph.total)]
    worst = float(residual.max(initial=0.0))
    if not worst <= TOLERANCE[precision]:
        what = f"edges into a node do not sum to its value: relative residual {worst:.1e}, at most {TOLERANCE[precision]:g}"
        raise QualityError(what, cure="use float64, or report the model's type: a part of it is not affine")
    return worst


def repeat_difference(graph: Graph, other: Graph) -> float:
    """The largest difference of an edge's weight in two graphs of one prompt, relative to the largest weight.

    An edge that only one of them has is 0 in the other; nodes are compared by kind, layer, position and feature.
    """
    weights = [dict(zip(_edges(one), one.weight.tolist(), strict=True)) for one in (graph, other)]
    largest = max((abs(weight) for one in weights for weight in one.values()), default=0.0)
    gaps = (abs(weights[0].get(edge, 0.0) - weights[1].get(edge, 0.0)) for edge in {*weights[0], *weights[1]})
    return max(gaps, default=0.0) / largest if largest else 0.0


def _edges(graph: Graph) -> list[tuple]:
    nodes = list(zip(graph.kind.tolist(), graph.layer.tolist(), graph.position.tolist(), graph.feature.tolist()))
    return [(nodes[source], nodes[target]) for source, target in zip(graph.source.tolist(), graph.target.tolist())]
