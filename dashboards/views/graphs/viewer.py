"""Panel of the page ``graphs``: the graph itself, in a viewer of our own that asks nobody outside."""

from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.declared_panel import draw_panel
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.views.graphs.about import EMPTY
from dashboards.views.graphs.feature import feature
from dashboards.views.graphs.heads import HEADS_OF_EDGES, PAIRS_OF_HEADS
from dashboards.views.graphs.packing import packed
from dashboards.views.graphs.view_state import NAMES, GraphView, from_parameters, from_viewer

FILES = Path(__file__).with_name("viewer")
SCRIPTS = ("model", "layout", "picture", "nodes", "details", "groups", "list", "export", "viewer")
"""Parts of the viewer's program, each after those that it uses."""
KEY = "graph viewer"

OF_GRAPH = "collection = $collection and graph_set = $graph_set and prompt = $prompt and graph_kind = $graph_kind"
NODES = f"""with incoming as (
    select
        target as node,
        list(source order by source) as sources,
        list(weight order by source) as weights,
        list(transport_weight order by source) as transport_weights,
        list(transport_share order by source) as transport_shares
    from graph_edges
    where {OF_GRAPH}
    group by target
)

select node, node_id, kind, layer, position, token, sae, feature_id, token_id, label, activation, influence, total, transport_share,
    sources, weights, transport_weights, transport_shares
from graph_nodes
left join incoming using (node)
where {OF_GRAPH}
order by node"""
READING = (
    "Layers upwards, tokens to the right. A node's colour is the share of the effect on it that is transport, an edge's the share "
    "of its own: blue is carried by an operator, orange is computed on the way, grey was not compared; of a transport "
    "graph what the operator misses is orange. Dashed edges are negative, wide ones strong. Sliders keep the nodes and edges with "
    "that share of the influence. Hover a node for its edges, click to pin it; with the keyboard, arrows move and Enter pins."
)
TOKENS = f"select tokens from graphs where {OF_GRAPH}"
SUPERNODES = f"select name, node_ids from graph_supernodes where {OF_GRAPH} order by supernode"


def viewer_files() -> dict[str, str]:
    """The viewer's program, a module, and its style."""
    parts = [(FILES / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return {"js": "\n".join(parts), "css": (FILES / "viewer.css").read_text(encoding="utf-8")}


@cache
def _component() -> Any:
    """The viewer, registered once a process."""
    files = viewer_files()
    return st.components.v2.component("ato_graph_viewer", js=files["js"], css=files["css"])


@st.fragment
def viewer(about: dict[str, Any]) -> None:
    """The graph, and the feature that was clicked; only these two are drawn again after a click."""
    panel(
        "Graph",
        filled(NODES, **about),
        partial(_draw, about),
        note=READING,
        empty=EMPTY,
    )
    clicked = st.query_params.get("clicked", "")
    feature(about, clicked)
    if about["graph_kind"] == "attribution":
        for declared in (HEADS_OF_EDGES, PAIRS_OF_HEADS):
            draw_panel(declared, **about, node_id=clicked)


def _draw(about: dict[str, Any], rows: pl.DataFrame) -> None:
    graph = ask(filled(TOKENS, **about)).row(0, named=True)
    known = rows["node_id"].to_list()
    address = {name: st.query_params[name] for name in NAMES if name in st.query_params}
    key = f"{KEY} {about['graph_set']} {about['graph_kind']}"
    data = packed(rows, graph["tokens"]) | {
        "title": about["prompt"],
        "kind": about["graph_kind"],
        "proposed": [[name, *ids] for name, ids in ask(filled(SUPERNODES, **about)).rows()],
        "view": asdict(from_parameters(address, known)),
        "heard": st.session_state.get(
            f"{key} heard", 0
        ),  # else a view that comes back would look unchanged, and stay unsent
    }
    _component()(key=key, data=data, default={"view": None}, on_view_change=partial(_note, key, known))


def _note(key: str, known: list[str]) -> None:
    """Write what the reader did into the address."""
    st.session_state[f"{key} heard"] = st.session_state.get(f"{key} heard", 0) + 1
    sent = st.session_state[key].get("view")
    view = from_viewer(sent, known) if isinstance(sent, dict) else GraphView()
    for name, text in (dict.fromkeys(NAMES) | view.parameters()).items():
        if text is not None:
            st.query_params[name] = text
        elif name in st.query_params:
            del st.query_params[name]
