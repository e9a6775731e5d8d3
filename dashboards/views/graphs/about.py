"""What the page ``graphs`` is about: one graph of one prompt."""

from typing import Any

import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.reading import ask, filled

EMPTY = "No graphs yet: run `ato run graphs --profile demo-graphs`, or `ato graph` with a prompt of your own."

GRAPHS = """select prompt, graph_kind, graph_set
from graph_summary
where collection = $collection
order by prompt, graph_kind"""


def chosen(collection: str) -> dict[str, Any] | None:
    """Collection, prompt, kind and set of the chosen graph; None where there is no graph."""
    found = ask(filled(GRAPHS, collection=collection))
    if found.is_empty():
        return None
    fields = st.columns([3, 2])
    prompt = choose("Prompt", "prompt", found["prompt"].unique(maintain_order=True).to_list(), where=fields[0])
    of_prompt = {row["graph_kind"]: row["graph_set"] for row in found.iter_rows(named=True) if row["prompt"] == prompt}
    kind = choose(
        "Graph",
        "graph_kind",
        list(of_prompt),
        where=fields[1],
        widget="segmented_control",
        help="attribution: gradients of the locally linear model, beside what operators carry of each edge; "
        "transport: edges are operators, with nodes for what they and the SAEs miss.",
    )
    assert kind is not None
    return {"collection": collection, "prompt": prompt, "graph_kind": kind, "graph_set": of_prompt[kind]}
