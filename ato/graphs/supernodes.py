"""Supernodes of a graph's file: nodes grouped and labelled, saved in the file itself, and exported."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ato.errors import DamagedFileError, InputError
from ato.graphs.json_files import read_json, write_json


@dataclass(frozen=True)
class View:
    """What is pinned and grouped in a graph; changed by methods that give a new one."""

    pinned: tuple[str, ...] = ()
    """Names of nodes, see ``ato.graphs.circuit_tracer.node_ids``."""
    supernodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Label -> its nodes, in the order in which they were made."""
    clicked: str = ""

    def group(self, label: str, nodes: Iterable[str]) -> "View":
        """With a new supernode; its nodes leave the ones that they were in, and empty supernodes go.

        Raises:
            InputError: no nodes, no label, or a label that there is.
        """
        members = tuple(dict.fromkeys(nodes))
        if not members:
            raise InputError("a supernode needs a node", where=label, cure="choose one or more")
        self._check_new(label)
        left = {name: tuple(n for n in old if n not in members) for name, old in self.supernodes.items()}
        return replace(self, supernodes={name: old for name, old in left.items() if old} | {label: members})

    def relabel(self, old: str, new: str) -> "View":
        """With a supernode under another label, in the same place; InputError as ``group``, or if there is none."""
        self._check_known(old)
        if new != old:
            self._check_new(new)
        return replace(self, supernodes={new if name == old else name: n for name, n in self.supernodes.items()})

    def ungroup(self, label: str) -> "View":
        """Without a supernode; InputError if there is none."""
        self._check_known(label)
        return replace(self, supernodes={name: n for name, n in self.supernodes.items() if name != label})

    def _check_new(self, label: str) -> None:
        if not label.strip():
            raise InputError("a supernode needs a label", cure="give it a name")
        if label in self.supernodes:
            raise InputError(f"there is a supernode {label!r}", cure="choose another label")

    def _check_known(self, label: str) -> None:
        if label not in self.supernodes:
            known = ", ".join(self.supernodes) or "there are none"
            raise InputError(f"no supernode {label!r}", cure=f"choose from: {known}")


def load_view(path: Path | str) -> View:
    """What is pinned and grouped in a graph's file; lists that a page saved as text are read, too.

    Raises:
        InputError: there is no such file.
        DamagedFileError: it is no graph.
    """
    return view_of(read_json(path, dict), path)


def view_of(document: Mapping[str, Any], where: Path | str) -> View:
    """What is pinned and grouped in the content of a graph's file; raises DamagedFileError as ``load_view``."""
    saved = document.get("qParams") or {}
    try:
        pinned, groups = saved.get("pinnedIds") or [], saved.get("supernodes") or []
        if isinstance(pinned, str):
            pinned = pinned.split(",")
        if isinstance(groups, str):
            groups = json.loads(groups)
        supernodes = {str(label): tuple(map(str, nodes)) for label, *nodes in groups if nodes}
        return View(tuple(map(str, pinned)), supernodes, str(saved.get("clickedId") or ""))
    except (TypeError, ValueError, AttributeError) as error:
        raise DamagedFileError("the saved view is unreadable", where=where, cure="write the graph again") from error


def save_view(path: Path | str, view: View) -> None:
    """Write what is pinned and grouped into a graph's file; all else in it stays.

    Raises:
        InputError: a node that the graph does not have, or there is no such file.
        DamagedFileError: it is no graph.
        DiskFullError, UnavailableError: it cannot be written.
    """
    document = read_json(path, dict)
    known = {node["node_id"] for node in _list(document, "nodes", path)}
    members = [node for nodes in view.supernodes.values() for node in nodes]
    if unknown := [node for node in (*view.pinned, *members) if node not in known]:
        raise InputError(f"the graph has no node {unknown[0]!r}", where=path, cure="choose nodes of this graph")
    document["qParams"] = {
        **(document.get("qParams") or {}),
        # The page shows supernodes of pinned nodes alone.
        "pinnedIds": list(dict.fromkeys([*view.pinned, *members])),
        "supernodes": [[label, *nodes] for label, nodes in view.supernodes.items()],
        "clickedId": view.clicked,
    }
    write_json(path, document)


def export_view(path: Path | str, target: Path | str) -> Path:
    """Write the supernodes of a graph's file and the sums of direct effects between them as a JSON file of their own.

    Pinned nodes outside supernodes stand for themselves. Effects within one supernode are left out.

    Raises:
        InputError: nothing is pinned or grouped, or there is no such file.
        DamagedFileError: it is no graph.
        DiskFullError, UnavailableError: the target cannot be written.
    """
    document = read_json(path, dict)
    view = view_of(document, path)
    group = {node: label for label, nodes in view.supernodes.items() for node in nodes}
    group = {node: node for node in view.pinned if node not in group} | group
    if not group:
        raise InputError("nothing is pinned or grouped", where=path, cure="make a supernode first")
    sums: dict[tuple[str, str], list[float]] = {}
    for link in _list(document, "links", path):
        ends = group.get(link["source"]), group.get(link["target"])
        if None not in ends and ends[0] != ends[1]:
            sums.setdefault(ends, []).append(float(link["weight"]))  # type: ignore[arg-type]
    edges = [
        {"source": source, "target": to, "weight": sum(weights), "n_edges": len(weights)}
        for (source, to), weights in sums.items()
    ]
    label_of = {node["node_id"]: node.get("clerp", "") for node in _list(document, "nodes", path)}
    groups = [
        {"label": label, "nodes": [{"node_id": n, "label": label_of.get(n, "")} for n in nodes]}
        for label, nodes in view.supernodes.items()
    ]
    metadata = document.get("metadata") or {}
    about = {name: metadata.get(name) for name in ("slug", "prompt")}
    return write_json(target, {**about, "supernodes": groups, "edges": edges})


def _list(document: Mapping[str, Any], name: str, path: Path | str) -> list[dict[str, Any]]:
    found = document.get(name)
    if not isinstance(found, list):
        raise DamagedFileError("the file holds no graph", where=path, cure="write it again")
    return found
