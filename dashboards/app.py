"""The Streamlit app: navigation, choice of the collection, errors on one line."""

import sys
from pathlib import Path

import streamlit as st

sys.path.insert(0, str(Path(__file__).parents[1]))  # streamlit puts this file's folder there, not the one above

from ato.errors import AtoError
from dashboards.site.download import share
from dashboards.ui import chart_theme  # noqa: F401 (its import gives the charts their theme)
from dashboards.ui.address import choose_collection
from dashboards.ui.navigation import SITE, link, name_tab, pages
from dashboards.ui.phones import fit_phones
from dashboards.ui.plain import plain
from dashboards.ui.warm_up import warm_up

st.set_page_config(page_title=SITE, page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide")
current = st.navigation(list(pages().values()), position="top")
name_tab(current.title)
fit_phones()
title, help_, chosen = st.columns([3, 3, 4], vertical_alignment="bottom")
title.title(current.title, anchor=False)
try:
    shown = choose_collection(chosen)
    with help_.container(horizontal=True, vertical_alignment="center"):
        if shown is not None:
            share(shown)
        link("Glossary", "reference", part="Glossary")
        link("Settings", "reference", part="Settings")
    current.run()
except AtoError as error:
    st.error(plain(error))
warm_up()
