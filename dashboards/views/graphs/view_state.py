"""What a reader has pinned, grouped and hidden in a graph, and how the address says it."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

WEIGHTS = ("attribution", "transport")
"""Which weights edges are drawn by."""
NAMES = ("pinned", "clicked", "supernodes", "nodes", "edges", "weights")
"""Parameters of the address."""
EDGES_SHOWN = 0.7
"""Share of the edges' influence that is drawn at first."""


@dataclass(frozen=True)
class GraphView:
    """The state of the viewer; nodes by their ``node_id``."""

    pinned: tuple[str, ...] = ()
    clicked: str = ""
    supernodes: tuple[tuple[str, ...], ...] = ()
    """Each a label and its nodes, as in circuit-tracer's files."""
    nodes: float = 1.0
    """Nodes with a cumulative share of influence above it are hidden, but not outputs, tokens and pinned ones."""
    edges: float = EDGES_SHOWN
    """Likewise edges."""
    weights: str = WEIGHTS[0]

    def parameters(self) -> dict[str, str]:
        """The view as parameters of an address, without those that say what is so at first."""
        texts = {
            "pinned": ",".join(self.pinned),
            "clicked": self.clicked,
            "supernodes": json.dumps(self.supernodes, ensure_ascii=False) if self.supernodes else "",
            "nodes": f"{self.nodes:g}",
            "edges": f"{self.edges:g}",
            "weights": self.weights,
        }
        start = {"nodes": f"{1.0:g}", "edges": f"{EDGES_SHOWN:g}", "weights": WEIGHTS[0]}
        return {name: text for name, text in texts.items() if text and text != start.get(name)}


def from_parameters(address: Mapping[str, str], known: Collection[str]) -> GraphView:
    """The view that an address describes; what it says of unknown nodes, or unreadably, is ignored."""
    try:
        supernodes = json.loads(address.get("supernodes", "[]"))
    except ValueError:
        supernodes = []
    given = {name: address[name] for name in NAMES if name in address}
    return from_viewer(given | {"pinned": given.get("pinned", "").split(","), "supernodes": supernodes}, known)


def from_viewer(sent: Mapping[str, Any], known: Collection[str]) -> GraphView:
    """The view that the viewer in the browser sent, as far as it makes sense for the nodes that there are."""
    nodes = set(known)
    groups: list[tuple[str, ...]] = []
    taken: set[str] = set()
    for group in _list(sent.get("supernodes")):
        label, *members = map(str, _list(group)) if _list(group) else ("",)
        kept = [node for node in dict.fromkeys(members) if node in nodes and node not in taken]
        if label.strip() and kept and label not in (name for name, *_ in groups):
            groups.append((label, *kept))
            taken.update(kept)
    clicked, weights = str(sent.get("clicked")), sent.get("weights")
    return GraphView(
        pinned=tuple(node for node in dict.fromkeys(map(str, _list(sent.get("pinned")))) if node in nodes),
        clicked=clicked if clicked in nodes else "",
        supernodes=tuple(groups),
        nodes=_share(sent.get("nodes"), 1.0),
        edges=_share(sent.get("edges"), EDGES_SHOWN),
        weights=str(weights) if weights in WEIGHTS else WEIGHTS[0],
    )


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _share(value: Any, start: float) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        return start
    return share if 0 <= share <= 1 else start
