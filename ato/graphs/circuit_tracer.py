"""Graphs as files that circuit-tracer's page and Neuronpedia read, and the way back.

The format is the union of what both ask for. Kinds that it does not know are written as error nodes with a label of their
own: transport errors as feature -2, constants as feature -3.

A file names the texts of token ids that the graph holds; nothing is tokenised again. A logit node stands at the position
that predicts it, and its label is the token that follows that position.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ato.errors import DamagedFileError, InputError, MismatchError
from ato.features.exports.cantor import cantor_id, from_cantor_id
from ato.graphs.adjacency import check_graph
from ato.graphs.graph import Graph
from ato.graphs.json_files import read_json, write_json
from ato.graphs.supernodes import view_of

METADATA = "graph-metadata.json"
"""The list of a folder's graphs, from which the page offers them."""
SCHEMA_VERSION = 1
_FEATURE, _ERROR, _TOKEN, _LOGIT = "cross layer transcoder", "mlp reconstruction error", "embedding", "logit"
_SPECIAL = {"error": -1, "transport_error": -2, "constant": -3}
_LABELS = {"error": "SAE error", "transport_error": "transport error", "constant": "constant (biases)"}
_KIND_OF = {number: kind for kind, number in _SPECIAL.items()}
_SLUG = re.compile(r"[\w][\w.-]*")


@dataclass(frozen=True)
class Captions:
    """What a file says beside the numbers of its graph."""

    slug: str
    """Name of the file: letters, digits, ``_``, ``.`` and ``-``."""
    prompt: str
    tokens: tuple[str, ...]
    """Text of each of the graph's token ids."""
    scan: str = ""
    """Where the page finds the panels of features: ``./data/features/<hash>``, see ``ato.graphs.feature_panels``."""
    logits: Mapping[int, str] = field(default_factory=dict)
    """Token id -> text, for logit nodes."""
    labels: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """Layer and feature -> what the feature is called."""
    node_threshold: float | None = None
    """Of the pruning; the page then offers a slider up to it."""
    edge_threshold: float | None = None
    supernodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> its nodes, by their names in the file, see ``node_ids``."""


def node_ids(graph: Graph) -> list[str]:
    """The name of each node in the file; unique, errors of SAEs and of operators included."""
    return [_node_id(*node) for node in _nodes(graph)]


def graph_document(graph: Graph, captions: Captions) -> dict[str, Any]:
    """The file's content.

    Raises:
        InputError: logits whose ``activation`` is no probability, a logit or another node beyond the prompt, an unusable
            slug, one node given twice, or a supernode of others.
        MismatchError: other than one text a token, or a logit without a text.
    """
    check_graph(graph)
    if not _SLUG.fullmatch(captions.slug):
        raise InputError(f"unusable slug {captions.slug!r}", cure="use letters, digits, '_', '.' and '-'")
    if len(captions.tokens) != len(graph.token_ids):
        raise MismatchError(
            f"{len(captions.tokens)} texts for the {len(graph.token_ids)} tokens of the prompt",
            where=captions.slug,
            cure="give the text of each token id, without tokenising again",
        )
    if len(graph.kind) and not (graph.position.min() >= 0 and graph.position.max() < len(graph.token_ids)):
        raise InputError("a node stands beyond the prompt", where=captions.slug, cure="count positions from 0")
    names = node_ids(graph)
    if len(set(names)) < len(names):
        raise InputError("a graph has one node twice", where=captions.slug, cure="join the nodes first")
    first_logit = next((i for i, kind in enumerate(graph.kind) if kind == "logit"), None)
    nodes = [_node(graph, captions, i, name, i == first_logit) for i, name in enumerate(names)]
    links = [
        {"source": names[source], "target": names[target], "weight": weight}
        for source, target, weight in zip(
            graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), strict=True
        )
    ]
    return {"metadata": _metadata(graph, captions), "qParams": _view(captions, names), "nodes": nodes, "links": links}


def _view(captions: Captions, names: Sequence[str]) -> dict[str, Any]:
    """What the page shows at first: supernodes, whose nodes must be pinned."""
    members = [node for nodes in captions.supernodes.values() for node in nodes]
    if unknown := sorted(set(members) - set(names)):
        raise InputError(
            f"a supernode has {unknown[0]!r}, no node of the graph", where=captions.slug, cure="leave it out"
        )
    groups = [[name, *nodes] for name, nodes in captions.supernodes.items()]
    return {"pinnedIds": members, "supernodes": groups, "linkType": "both", "clickedId": "", "sg_pos": ""}


def write_graph(folder: Path | str, graph: Graph, captions: Captions) -> Path:
    """Write ``<slug>.json`` and list it in the folder's ``graph-metadata.json``; what had that slug is replaced.

    Raises:
        InputError, MismatchError: as ``graph_document``.
        DamagedFileError: the folder's list holds something else.
        DiskFullError, UnavailableError: the folder cannot be written to.
    """
    folder, document = Path(folder), graph_document(graph, captions)
    path = write_json(folder / f"{captions.slug}.json", document)
    listed = read_json(folder / METADATA, dict).get("graphs") if (folder / METADATA).exists() else []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise DamagedFileError("the list of graphs holds something else", where=folder / METADATA, cure="delete it")
    others = [entry for entry in listed if entry.get("slug") != captions.slug]
    write_json(folder / METADATA, {"graphs": [*others, document["metadata"]]})
    return path


def read_graph(path: Path | str) -> tuple[Graph, Captions]:
    """A graph from a file of ours, of circuit-tracer or of Neuronpedia.

    ``total`` is NaN: the format has no room for it. Token ids that the file does not tell are -1. Links to nodes that
    are not there are left out, as the page does.

    Raises:
        InputError: there is no such file, or it has nodes of attention features.
        DamagedFileError: it is no graph.
    """
    document = read_json(path, dict)
    try:
        return _graph(document)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DamagedFileError("the file holds no graph", where=path, cure="write it again") from error


def _nodes(graph: Graph) -> list[tuple[str, int, int, int, int]]:
    """Kind, layer, position, feature and token id of each node."""
    known = graph.kind.tolist(), graph.layer.tolist(), graph.position.tolist(), graph.feature.tolist()
    tokens = graph.token_ids
    return [
        (kind, layer, position, feature, tokens[position] if kind == "token" else -1)
        for kind, layer, position, feature in zip(*known, strict=True)
    ]


def _node_id(kind: str, layer: int, position: int, feature: int, token: int) -> str:
    if kind == "token":
        return f"E_{token}_{position}"
    if kind == "logit":
        return f"{layer + 1}_{feature}_{position}"
    return f"{max(layer, 0)}_{_SPECIAL.get(kind, feature)}_{position}"


def _node(graph: Graph, captions: Captions, i: int, name: str, is_target: bool) -> dict[str, Any]:
    kind, layer, position = str(graph.kind[i]), int(graph.layer[i]), int(graph.position[i])
    feature, probability = int(graph.feature[i]), 0.0
    shown = str(max(layer, 0))
    start = name.rsplit("_", 1)[0]
    if kind == "feature":
        number, of_kind, js, label = (
            cantor_id(layer, feature),
            _FEATURE,
            f"{start}-0",
            captions.labels.get((layer, feature), ""),
        )
    elif kind == "token":
        number, of_kind, js, label, shown = position, _TOKEN, f"{start}-{position}", "", "E"
    elif kind == "logit":
        probability = float(graph.activation[i])
        label, shown = _logit_label(captions, feature, probability), str(layer + 1)
        number, of_kind, js = feature, _LOGIT, f"L_{feature}-{position}"
    else:
        number, of_kind, js, label = _SPECIAL[kind], _ERROR, f"{start}-{position}", _LABELS[kind]
    return {
        "node_id": name,
        "feature": number,
        "layer": shown,
        "ctx_idx": position,
        "feature_type": of_kind,
        "token_prob": probability,
        "is_target_logit": is_target,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": js,
        "clerp": label,
        "influence": _known(graph.influence[i]),
        "activation": _known(graph.activation[i]),
    }


def _logit_label(captions: Captions, token: int, probability: float) -> str:
    if token not in captions.logits:
        raise MismatchError(f"no text for the logit of token {token}", where=captions.slug, cure="give its text")
    if not 0 <= probability <= 1:
        raise InputError(
            f"the logit of token {token} has {probability:g} for a probability",
            where=captions.slug,
            cure="give probabilities as activations of logit nodes",
        )
    return f'Output "{captions.logits[token]}" (p={probability:.3f})'


def _known(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _metadata(graph: Graph, captions: Captions) -> dict[str, Any]:
    thresholds = {"node_threshold": captions.node_threshold, "edge_threshold": captions.edge_threshold}
    pruning = {name: value for name, value in thresholds.items() if value is not None}
    slider = {name: value for name, value in pruning.items() if name == "node_threshold"}
    return {
        "slug": captions.slug,
        "scan": captions.scan,
        "transcoder_list": [],
        "prompt_tokens": list(captions.tokens),
        "prompt": captions.prompt,
        **slider,
        "schema_version": SCHEMA_VERSION,
        "pruning_settings": pruning,
        "token_ids": list(graph.token_ids),
    }


def _graph(document: Mapping[str, Any]) -> tuple[Graph, Captions]:
    metadata, nodes = document["metadata"], document["nodes"]
    parsed = [_parsed(node, metadata) for node in nodes]
    index = {node["node_id"]: i for i, node in enumerate(nodes)}
    links = [link for link in document["links"] if link["source"] in index and link["target"] in index]
    tokens = tuple(map(str, metadata["prompt_tokens"]))
    token_ids = list(metadata.get("token_ids") or [-1] * len(tokens))
    for node in nodes:
        if node["feature_type"] == _TOKEN and node["node_id"].startswith("E_"):
            token_ids[node["ctx_idx"]] = int(node["node_id"].split("_")[1])
    kind, layer, feature = (list(column) for column in zip(*parsed, strict=True)) if parsed else ([], [], [])
    missing = np.full(len(nodes), np.nan)
    graph = Graph(
        tuple(map(int, token_ids)),
        np.array(kind, dtype="<U15"),
        np.array(layer, np.int64),
        np.array([int(node["ctx_idx"]) for node in nodes], np.int64),
        np.array(feature, np.int64),
        _column(nodes, "activation"),
        _column(nodes, "influence"),
        np.array([index[link["source"]] for link in links], np.int64),
        np.array([index[link["target"]] for link in links], np.int64),
        np.array([float(link["weight"]) for link in links], np.float64),
        missing,
    )
    pruning = metadata.get("pruning_settings") or {}
    captions = Captions(
        str(metadata["slug"]),
        str(metadata["prompt"]),
        tokens,
        str(metadata["scan"]),
        {n: _text_of(node["clerp"]) for (k, _, n), node in zip(parsed, nodes, strict=True) if k == "logit"},
        {
            (at, n): node["clerp"]
            for (k, at, n), node in zip(parsed, nodes, strict=True)
            if k == "feature" and node.get("clerp")
        },
        metadata.get("node_threshold"),
        pruning.get("edge_threshold"),
        view_of(document, metadata["slug"]).supernodes,
    )
    return graph, captions


def _parsed(node: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[str, int, int]:
    """Kind, layer and feature of a node, in any of the schemas."""
    of_kind, name = node["feature_type"], node["node_id"]
    if "lorsa" in of_kind:
        raise InputError("the graph has nodes of attention features", cure="read a graph of transcoders or SAEs")
    if of_kind == _TOKEN:
        return "token", -1, -1
    layer = int(node["layer"])
    if of_kind == _LOGIT:
        return "logit", layer - 1, int(name.split("_")[1])
    if "error" in of_kind:
        kind = _KIND_OF.get(int(node["feature"]) if node["feature"] is not None else -1, "error")
        return kind, -1 if kind == "constant" else layer, -1
    if metadata.get("schema_version") == SCHEMA_VERSION:
        found = from_cantor_id(int(node["feature"]))
        if found[0] == layer:
            return "feature", *found
    return "feature", layer, int(name.split("_")[1])


def _column(nodes: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([np.nan if node.get(name) is None else float(node[name]) for node in nodes], np.float64)


def _text_of(label: str) -> str:
    """The token of a logit's label."""
    found = re.fullmatch(r'Output "(.*)" \(p=[^)]*\)', label, flags=re.DOTALL)
    return found[1] if found else label
