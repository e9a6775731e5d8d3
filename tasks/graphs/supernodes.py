"""Proposed supernodes of a prompt's graphs, by name: rows of ``graph_supernodes`` and groups in the files."""

from collections.abc import Mapping
from typing import Any

from ato.graphs.circuit_tracer import node_ids
from ato.text.display import visible
from tasks.graphs.making import MadeGraph


def named_groups(
    made: MadeGraph, labels: Mapping[tuple[int, int], str], tokens: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Columns of each group beside the keys of its graph.

    A group is called after its most influential feature, by label or else by number, and its token; of equal names the
    later ones are numbered.
    """
    graph, names, known = made.pruned.graph, node_ids(made.pruned.graph), set[str]()
    found = []
    for number, group in enumerate(made.supernodes):
        first = group.nodes[0]
        feature, position = (int(graph.layer[first]), int(graph.feature[first])), int(graph.position[first])
        base = f"{labels.get(feature, f'L{feature[0]}/{feature[1]}')} at {visible(tokens[position])} ({position})"
        name, copy = base, 1
        while name in known:
            copy += 1
            name = f"{base}, {copy}"
        known.add(name)
        own = {"supernode": number, "name": name, "position": position, "cosine": group.cosine}
        found.append(own | {"nodes": list(group.nodes), "node_ids": [names[node] for node in group.nodes]})
    return found
