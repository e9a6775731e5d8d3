"""What a finger needs of Streamlit's pages: the buttons of a table, always shown on a phone, stand above it and over nothing else."""

import streamlit as st

STYLE = """<style>
@media (hover: none) {
  [data-testid=stElementContainer]:has([data-testid=stDataFrame]) { margin-top: 1.5rem; }
}
</style>"""


def fit_touch() -> None:
    """Add the rules to the page; where there is a mouse, they do nothing."""
    st.html(STYLE)
