"""Page ``overview``, the landing page: what this study found, and what is new since the collection before."""

import streamlit as st

from dashboards.ui.address import collection
from dashboards.ui.navigation import go, link
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.views.overview.cards import cards
from dashboards.views.overview.news import news

PLACEHOLDER = "16/658, words, or what it means"
STUDY = """select model, corpus, n_kept, site, layers, n_layers
from collections
where collection = $collection"""


def page() -> None:
    """Draw the page."""
    key = collection()
    about = ask(filled(STUDY, collection=key)).row(0, named=True)
    left, middle, right = st.columns([4, 2, 1], vertical_alignment="center")
    left.markdown(
        f"What a study of **{plain(about['model'])}** found on **{about['n_kept']:,}** tokens of **{plain(about['corpus'])}**, "
        f"between blocks {about['layers'][0]} and {about['layers'][-1]} of {about['n_layers']}. In brackets: 95\u00a0% intervals."
    )
    with middle:
        _search()
    with right:
        link("Stages, cost, checks", "operations")
    cards(key)
    news(key)


def _search() -> None:
    """A field that leads to the features that it finds; it is empty again for who comes back."""
    with st.form("search features", clear_on_submit=True, border=False):
        line = st.container(horizontal=True, wrap=False, vertical_alignment="bottom")
        text = line.text_input("Search features", placeholder=PLACEHOLDER)
        if line.form_submit_button("", icon=":material/search:", help="Find features by words and by meaning"):
            go("features", search=text.strip() or None)
