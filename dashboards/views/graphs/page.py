"""Page ``graphs``: which features of a prompt make which others and the next token, and what of that is transport."""

import streamlit as st

from dashboards.ui.address import collection
from dashboards.ui.compare_link import compare_with
from dashboards.ui.declared_panel import draw_panel
from dashboards.views.graphs.about import EMPTY, chosen
from dashboards.views.graphs.edges import RECURRING_EDGES, STRONGEST_EDGES
from dashboards.views.graphs.summary import ALL_GRAPHS, CHECKS_OF_GRAPH, draw_checks
from dashboards.views.graphs.viewer import viewer


def page() -> None:
    """Draw the page."""
    key = collection()
    about = chosen(key)
    if about is None:
        st.info(EMPTY)
        return
    compare_with("graph", f"{about['prompt']}/{about['graph_kind']}")
    draw_panel(CHECKS_OF_GRAPH, draw_checks, **about)
    viewer(about)
    draw_panel(STRONGEST_EDGES, **about)
    draw_panel(RECURRING_EDGES, **about)
    draw_panel(ALL_GRAPHS, collection=key)
