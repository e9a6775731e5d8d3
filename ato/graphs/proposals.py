"""Proposed supernodes: features at one position that write nearly the same direction, layer after layer.

Between SAEs of the residual stream most strong chains of a graph are one direction carried on. Features are grouped by
complete linkage of their decoder rows, so that any two of a group have at least the given cosine.
"""

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from ato.errors import SettingsError
from ato.graphs.graph import Graph

MOST = 2000
"""Features of a position that are grouped, the most influential: memory is that of their pairs."""


@dataclass(frozen=True)
class Proposal:
    """Nodes that may be shown as one."""

    nodes: tuple[int, ...]
    """Of one position, the most influential first."""
    cosine: float
    """The smallest of any two decoder rows."""


def propose(graph: Graph, decoders: np.ndarray, least: float = 0.7) -> list[Proposal]:
    """Groups of two features or more, by position, within it that of the most influential node first.

    Args:
        graph: pruned, so that nodes have their ``influence``; small is important.
        decoders: [n features, d] decoder row of each feature node, in the graph's order.
        least: cosine that any two of a group have, in (0, 1].

    Raises:
        SettingsError: a cosine out of range.
    """
    if not 0 < least <= 1:
        raise SettingsError(f"a cosine of {least} groups nothing", cure="choose one above 0 and at most 1")
    features = np.flatnonzero(graph.kind == "feature")
    norms = np.linalg.norm(decoders, axis=1, keepdims=True)
    unit = np.divide(decoders, norms, out=np.zeros(decoders.shape), where=norms > 0)
    by_influence = np.lexsort((features, graph.influence[features]))
    found = []
    for position in np.unique(graph.position[features]):
        own = by_influence[graph.position[features[by_influence]] == position][:MOST]
        if len(own) < 2:
            continue
        cosines = unit[own] @ unit[own].T
        distances = 1 - np.clip(cosines[np.triu_indices(len(own), 1)], -1, 1)
        # A little room: equal rows have a cosine of 1 but for rounding.
        groups = fcluster(linkage(distances, "complete"), 1 - least + 1e-9, criterion="distance")
        for group in dict.fromkeys(groups.tolist()):
            members = np.flatnonzero(groups == group)
            if len(members) > 1:
                smallest = float(np.clip(cosines[np.ix_(members, members)].min(), -1, 1))
                found.append(Proposal(tuple(features[own[members]].tolist()), smallest))
    return found
