"""Page ``graphs``: which features of a prompt make which others and the next token, and what of that is transport."""

import streamlit as st

from dashboards.ui.address import collection
from dashboards.ui.compare_link import compare_with
from dashboards.views.graphs.about import EMPTY, chosen
from dashboards.views.graphs.edges import edges, motifs
from dashboards.views.graphs.summary import all_graphs, checks
from dashboards.views.graphs.viewer import viewer


def page() -> None:
    """Draw the page."""
    key = collection()
    about = chosen(key)
    if about is None:
        st.info(EMPTY)
        return
    compare_with("graph", f"{about['prompt']}/{about['graph_kind']}")
    checks(about)
    viewer(about)
    edges(about)
    motifs(about)
    all_graphs(key)
