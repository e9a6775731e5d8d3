"""What Streamlit's pages lack on a phone: buttons of tables beside no others, links that are read to their end, readable pictures."""

import streamlit as st

STYLE = """<style>
@media (hover: none) { /* the buttons of a table are always shown, above it */
  [data-testid=stElementContainer]:has([data-testid=stDataFrame]) { margin-top: 2rem; }
}
@media (max-width: 40rem) {
  [data-testid=stPageLink-NavLink] > span, [data-testid=stPageLink-NavLink] > span * { white-space: normal; overflow: visible; }
  [data-testid=stGraphVizChart] { overflow-x: auto; }
  [data-testid=stGraphVizChart] svg { width: 48rem; max-width: none; height: auto; }
}
</style>"""


def fit_phones() -> None:
    """Add the rules to the page; in a wide window with a mouse they do nothing."""
    st.html(STYLE)
