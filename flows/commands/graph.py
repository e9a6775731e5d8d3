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
from tasks.report.numbers import number, with_interval
from tasks.settings.graphs import PromptSettings
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

WIDTH = 120
"""Width where the output is no terminal, in characters."""
GRAPHS = "select * exclude (collection) from graphs where collection = ? and graph_set = ? order by graph_kind"
NODES = """select node_id, kind, layer, feature_id, position, token, activation, influence, transport_share, label
from graph_nodes where collection = ? and graph_set = ? and graph_kind = ? and kind not in ('logit', 'constant')
order by influence, node limit ?"""
EDGES = """with ends as (from graph_nodes where collection = $collection and graph_set = $key and graph_kind = $kind)
select e.weight, e.transport_weight, e.ablation, s.position = t.position as same_position,
    s.kind as source_kind, s.layer as source_layer, s.feature_id as source_feature_id, s.token as source_token,
    s.position as source_position, t.kind as target_kind, t.layer as target_layer,
    t.feature_id as target_feature_id, t.token as target_token, t.position as target_position
from graph_edges as e
inner join ends as s on s.node = e.source
inner join ends as t on t.node = e.target
where e.collection = $collection and e.graph_set = $key and e.graph_kind = $kind and s.kind = 'feature'
order by abs(e.weight) desc, e.source, e.target limit $top"""

HEADS = """with ends as (from graph_nodes where collection = $collection and graph_set = $key and graph_kind = $kind),
pairs as (
    -- constants alone tell nothing of the prompt
    from graph_qk
    where collection = $collection and graph_set = $key and graph_kind = $kind
        and (query_kind <> 'constant' or key_kind <> 'constant')
    qualify row_number() over (partition by layer, head, query_position, key_position order by pair) = 1
)
select h.layer, h.head, h.contribution, h.key_position, h.attention, h.score, h.mean_score, e.weight,
    s.kind as source_kind, s.layer as source_layer, s.feature_id as source_feature_id, s.token as source_token,
    s.position as source_position, t.kind as target_kind, t.layer as target_layer,
    t.feature_id as target_feature_id, t.token as target_token, t.position as target_position,
    p.weight as pair_weight, p.query_kind, p.query_layer, p.query_feature_id, p.key_kind, p.key_layer, p.key_feature_id
from graph_heads as h
inner join ends as s on s.node = h.source
inner join ends as t on t.node = h.target
inner join graph_edges as e
    on e.collection = h.collection and e.graph_set = h.graph_set and e.graph_kind = h.graph_kind
    and e.source = h.source and e.target = h.target
left join pairs as p
    on p.layer = h.layer and p.head = h.head and p.query_position = t.position and p.key_position = h.key_position
where h.collection = $collection and h.graph_set = $key and h.graph_kind = $kind
order by abs(h.contribution) desc, h.source, h.target, h.layer, h.head limit $top"""


def show_graph(
    settings: Settings,
    collection: str,
    prompt: PromptSettings,
    saes: Sequence[str] = (),
    top: int = 12,
    format_: str = "table",
) -> str:
    """Make the graphs of a prompt unless they are there, and print their strongest nodes and edges; returns their key.

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
    shown = {}
    for one in found:
        given = {"collection": collection, "key": key, "kind": one["graph_kind"], "top": top}
        parts = rows(None, NODES, list(given.values())), rows(None, EDGES, given), rows(None, HEADS, given)
        shown[one["graph_kind"]] = parts
    if format_ == "json":
        whole = [one | dict(zip(("nodes", "edges", "heads"), shown[one["graph_kind"]], strict=True)) for one in found]
        json.dump(whole, sys.stdout, ensure_ascii=False, indent=1)
        print()
        return key
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    console.print(Text(f"{visible(prompt.text)} → {', '.join(_targets(found))}", style="bold"))
    for one in found:
        nodes, edges, heads = shown[one["graph_kind"]]
        console.print(_nodes(one, nodes))
        console.print(_edges(one, edges))
        if heads:
            console.print(_heads(heads, one["tokens"]))
        for line in _about(one):
            console.print(line, markup=False)
    console.print(
        f"Files for circuit-tracer's page: {Warehouse().artifact_path(*found[0]['path'].split('/')[1:])}", markup=False
    )
    return key


def _targets(found: Sequence[dict[str, Any]]) -> list[str]:
    return [visible(target) for one in found for target in one["targets"]] or ["features of the last layer"]


def _nodes(graph: dict[str, Any], nodes: Sequence[dict[str, Any]]) -> Table:
    title = f"{graph['graph_kind']}: the {len(nodes)} most influential of {graph['n_nodes']} nodes"
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("node", "at token", "activation", "influence", "what it is"):
        table.add_column(name, no_wrap=name != "what it is", justify="right" if name == "activation" else "left")
    for one in nodes:
        activation = "" if one["activation"] is None else f"{one['activation']:.2f}"
        influence = "" if one["influence"] is None else f"first {one['influence']:.0%}"
        at = f"{visible(one['token'])} ({one['position']})"
        table.add_row(*map(Text, (_name(one), at, activation, influence, one["label"] or "")))
    return table


def _edges(graph: dict[str, Any], edges: Sequence[dict[str, Any]]) -> Table:
    title = f"{graph['graph_kind']}: the {len(edges)} strongest edges from features, of {graph['n_edges']} edges in all"
    table = Table(title=title, title_justify="left", header_style="bold")
    attributed = graph["graph_kind"] == "attribution"
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


def _heads(heads: Sequence[dict[str, Any]], tokens: Sequence[str]) -> Table:
    title = f"the {len(heads)} largest contributions of edges through a head, with their query and key"
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("edge", "head", "part", "reads at", "attention", "score", "largest pair: query, key"):
        table.add_column(name, justify="right" if name in ("part", "attention", "score") else "left")
    for one in heads:
        source, target = (f"{_name(one, f'{end}_')} ({one[f'{end}_position']})" for end in ("source", "target"))
        score = "" if one["score"] is None else f"{one['score']:+.2f}, mean {one['mean_score']:+.2f}"
        asks = (
            "" if one["score"] is None else f"{_name(one, 'query_')}, {_name(one, 'key_')}: {one['pair_weight']:+.2f}"
        )
        cells = (
            f"{source} → {target}",
            f"{one['layer']}.{one['head']}",
            f"{one['contribution']:+.3f} of {one['weight']:+.3f}",
            f"{visible(tokens[one['key_position']])} ({one['key_position']})",
            f"{one['attention']:.2f}",
        )
        table.add_row(*map(Text, (*cells, score, asks)))
    return table


def _by_transport(edge: dict[str, Any]) -> str:
    if edge["transport_weight"] is None:
        return "no operator"
    return f"{edge['transport_weight']:+.3f}" if edge["same_position"] else "another position"


def _name(one: dict[str, Any], end: str = "") -> str:
    kind, layer = one[f"{end}kind"], one[f"{end}layer"]
    if kind == "feature":
        return f"L{layer}/{one[f'{end}feature_id']}"
    return f"{kind.replace('_', ' ')} L{layer}" if kind in ("error", "transport_error") else str(kind)


def _about(one: dict[str, Any]) -> list[str]:
    """What the graph stands on, a line each."""
    scores = [f"{name} {number(one[name])}" for name in ("replacement", "completeness")]
    books = f"edges into each node sum to its value within {one['conservation_residual']:.1e} ({one['precision']})"
    again = "" if one["repeat_difference"] is None else f"; computed again it differs by {one['repeat_difference']:.1e}"
    lines = [f"{', '.join(scores)}; {books}{again}."]
    if one["pearson"] is not None:
        lines.append(
            f"Ablation of {one['n_ablated']} random edges in the model itself: correlation {with_interval(one, 'pearson')}, of other "
            f"edges into the same targets {with_interval(one, 'pearson_control')}."
        )
    if one["transport_share"] is not None:
        lines.append(
            f"Plain transport: {one['transport_share']:.0%} of the effect between features of layers that an operator joins; "
            f"{one['same_position_share']:.0%} of that effect stays at one position."
        )
    return lines
