"""``ato graph``: the graphs of one prompt, their strongest nodes and edges as text, and where the files are."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ato.text.display import visible
from flows.settings import Settings
from tasks.graphs.task import make_graphs
from tasks.settings.graphs import PromptSettings
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

WIDTH = 120
"""Width where the output is no terminal, in characters."""
GRAPHS = "select * exclude (collection) from graphs where collection = ? and graph = ? order by kind"
NODES = """select node_id, node_kind, layer, feature_id, position, token, activation, influence, label from graph_nodes
where collection = ? and graph = ? and kind = ? and node_kind not in ('logit', 'constant')
order by influence, node limit ?"""
EDGES = """select e.weight, e.transport_weight, e.same_position,
    s.node_kind as source_kind, s.layer as source_layer, s.feature_id as source_feature, s.token as source_token,
    s.position as source_position, t.node_kind as target_kind, t.layer as target_layer,
    t.feature_id as target_feature, t.token as target_token, t.position as target_position
from graph_edges as e
inner join graph_nodes as s on s.collection = e.collection and s.graph = e.graph and s.kind = e.kind and s.node = e.source
inner join graph_nodes as t on t.collection = e.collection and t.graph = e.graph and t.kind = e.kind and t.node = e.target
where e.collection = ? and e.graph = ? and e.kind = ? and s.node_kind = 'feature'
order by abs(e.weight) desc, e.source, e.target limit ?"""


def show_graph(
    settings: Settings,
    collection: str,
    prompt: PromptSettings,
    saes: Sequence[str] = (),
    top: int = 12,
    format_: str = "table",
) -> None:
    """Make the graphs of a prompt unless they are there, and print their strongest nodes and edges.

    Args:
        settings: whose model is run, and how graphs are made.
        collection: whose SAEs and operators are read.
        prompt: with its targets.
        saes: keys of SAEs; none: all of stage ``saes``.
        top: nodes, and edges, that are shown of each graph.
        format_: table or json.

    Raises:
        AtoError: what ``tasks.graphs.task.make_graphs`` raises.
    """
    own = settings.graphs.model_copy(update={"prompts": [prompt], "prompts_from": None})
    keys = list(saes) or [
        row["sae"] for row in rows(None, "select sae from saes where collection = ? order by layer, sae", [collection])
    ]
    (key,) = make_graphs.fn(settings.study(collection), keys, own)
    found = rows(None, GRAPHS, [collection, key])
    shown = {
        one["kind"]: [rows(None, query, [collection, key, one["kind"], top]) for query in (NODES, EDGES)]
        for one in found
    }
    if format_ == "json":
        whole = [one | dict(zip(("nodes", "edges"), shown[one["kind"]], strict=True)) for one in found]
        json.dump(whole, sys.stdout, ensure_ascii=False, indent=1)
        print()
        return
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    console.print(Text(f"{visible(prompt.text)} → {', '.join(_targets(found))}", style="bold"))
    for one in found:
        nodes, edges = shown[one["kind"]]
        console.print(_nodes(one, nodes))
        console.print(_edges(one, edges))
        for line in _about(one):
            console.print(line, markup=False)
    console.print(
        f"Files for circuit-tracer's page: {Warehouse().artifact_path(*found[0]['path'].split('/')[1:])}", markup=False
    )


def _targets(found: Sequence[dict[str, Any]]) -> list[str]:
    return [visible(target) for one in found for target in one["targets"]] or ["features of the last layer"]


def _nodes(graph: dict[str, Any], nodes: Sequence[dict[str, Any]]) -> Table:
    title = f"{graph['kind']}: the {len(nodes)} most influential of {graph['n_nodes']} nodes"
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("node", "at token", "activation", "influence", "what it is"):
        table.add_column(name, no_wrap=name != "what it is", justify="right" if name == "activation" else "left")
    for one in nodes:
        activation = "" if one["activation"] is None else f"{one['activation']:.2f}"
        influence = "" if one["influence"] is None else f"first {one['influence']:.0%}"
        at = f"{visible(one['token'])} ({one['position']})"
        table.add_row(*map(Text, (_name(one, ""), at, activation, influence, one["label"] or "")))
    return table


def _edges(graph: dict[str, Any], edges: Sequence[dict[str, Any]]) -> Table:
    title = f"{graph['kind']}: the {len(edges)} strongest edges from features, of {graph['n_edges']} edges in all"
    table = Table(title=title, title_justify="left", header_style="bold")
    attributed = graph["kind"] == "attribution"
    for name in ("from", "to", "weight", *(("by transport",) if attributed else ())):
        table.add_column(name, justify="right" if name in ("weight", "by transport") else "left")
    for one in edges:
        cells = [
            f"{_name(one, f'{end}_')} at {visible(one[f'{end}_token'])} ({one[f'{end}_position']})"
            for end in ("source", "target")
        ]
        by = [] if not attributed else [_by_transport(one)]
        table.add_row(*map(Text, (*cells, f"{one['weight']:+.3f}", *by)))
    return table


def _by_transport(edge: dict[str, Any]) -> str:
    if edge["transport_weight"] is None:
        return "no operator"
    return f"{edge['transport_weight']:+.3f}" if edge["same_position"] else "another position"


def _name(one: dict[str, Any], end: str) -> str:
    kind, layer, feature = (
        one[f"{end}kind" if end else "node_kind"],
        one[f"{end}layer"],
        one[f"{end}feature" if end else "feature_id"],
    )
    if kind == "feature":
        return f"L{layer}/{feature}"
    return {"token": "token", "logit": "logit", "constant": "constant"}.get(
        kind
    ) or f"{kind.replace('_', ' ')} L{layer}"


def _about(one: dict[str, Any]) -> list[str]:
    """What the graph stands on, a line each."""
    scores = [f"{name} {_number(one[name])}" for name in ("replacement", "completeness")]
    books = f"edges into each node sum to its value within {one['conservation']:.1e} ({one['precision']})"
    again = "" if one["repeat_difference"] is None else f"; computed again it differs by {one['repeat_difference']:.1e}"
    lines = [f"{', '.join(scores)}; {books}{again}."]
    if one["pearson"] is not None:
        lines.append(
            f"Ablation of {one['n_ablated']} random edges in the model itself: correlation {_interval(one, 'pearson')}, of other "
            f"edges into the same targets {_interval(one, 'pearson_random')}."
        )
    if one["transport_share"] is not None:
        lines.append(
            f"Plain transport: {one['transport_share']:.0%} of the effect between features of layers that an operator joins "
            f"({one['n_compared']:,} edges); {one['same_position_share']:.0%} of that effect stays at one position."
        )
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(one: dict[str, Any], name: str) -> str:
    limits = "" if one[f"{name}_low"] is None else f" [{one[f'{name}_low']:.2f}, {one[f'{name}_high']:.2f}]"
    return _number(one[name]) + limits
