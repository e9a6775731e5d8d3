"""The pages of the dashboard, and links between them that keep the collection."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import streamlit as st

SITE = "Activation transport"
"""Name of the dashboard, last in every browser title."""


class Page(NamedTuple):
    """One page of the dashboard."""

    title: str
    icon: str
    module: str
    """Imported on the first visit; has a function ``page``."""


PAGES = {
    "overview": Page("Findings", ":material/lightbulb:", "dashboards.views.overview.page"),
    "transport": Page("Transport map", ":material/grid_on:", "dashboards.views.transport.page"),
    "operators": Page("Operators", ":material/conversion_path:", "dashboards.views.operators.page"),
    "features": Page("Features", ":material/search:", "dashboards.views.features.page"),
    "fate": Page("Fates", ":material/timeline:", "dashboards.views.fate.page"),
    "causal": Page("Causal", ":material/experiment:", "dashboards.views.causal.page"),
    "graphs": Page("Graphs", ":material/graph_3:", "dashboards.views.graphs.page"),
    "entities": Page("Entities", ":material/travel_explore:", "dashboards.views.entities.page"),
    "saes": Page("SAEs", ":material/filter_alt:", "dashboards.views.saes.page"),
    "sae_study": Page("SAE study", ":material/compare_arrows:", "dashboards.views.sae_study.page"),
    "labels": Page("Labels", ":material/label:", "dashboards.views.labels.page"),
    "compare": Page("Compare", ":material/balance:", "dashboards.views.compare.page"),
    "operations": Page("Operations", ":material/dashboard:", "dashboards.views.operations.page"),
    "reader": Page("Reader", ":material/article:", "dashboards.views.reader.page"),
    "sql_bench": Page("SQL", ":material/database:", "dashboards.views.sql.page"),
    "reference": Page("Reference", ":material/menu_book:", "dashboards.views.reference.page"),
}
"""Pages by address; the first is the landing page."""


def name_tab(*what: str) -> None:
    """Title of the browser's tab: what the page is about, from the particular to the general."""
    st.set_page_config(page_title=" · ".join([*what, SITE]))


def pages() -> dict[str, Any]:
    """The pages by name, in order."""
    return {name: _page(name) for name in PAGES}


def link(label: str, name: str, **address: object) -> None:
    """A link to another page, with the current collection.

    Args:
        label: of the link.
        name: address of the page.
        address: further parameters, named as the page's widgets; None is left out.
    """
    st.page_link(_page(name), label=label, icon=PAGES[name].icon, query_params=_parameters(address))


def go(name: str, **address: object) -> None:
    """Go to another page; arguments as for ``link``."""
    st.switch_page(_page(name), query_params=_parameters(address))


def _parameters(address: dict[str, object]) -> dict[str, str]:
    collection = st.session_state.get("collection")
    known = {"collection": collection} | address
    return {key: str(value) for key, value in known.items() if value is not None}


def _page(name: str) -> Any:
    page = PAGES[name]
    return st.Page(_draw(name), title=page.title, icon=page.icon, url_path=name, default=name == next(iter(PAGES)))


def _draw(name: str) -> Callable[[], None]:
    """The page's function, which imports the module on the first visit."""

    def page() -> None:
        importlib.import_module(PAGES[name].module).page()

    return partial(page)
