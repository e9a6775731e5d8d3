"""Page ``compare``: any two things of one kind side by side, and how transport differs in other models."""

import streamlit as st

from dashboards.ui.address import choose, collection
from dashboards.ui.reading import ask, filled
from dashboards.views.compare.about import chosen
from dashboards.views.compare.features import changed, scatter
from dashboards.views.compare.models import distances, trajectory
from dashboards.views.compare.two import any_two

TWO, MODELS = "Any two", "Other models"
HAS_MODELS = "select 1 from comparisons where collection = $collection limit 1"


def page() -> None:
    """Draw the page: any two things, or what `ato run compare` found."""
    key = collection()
    asked = "left" in st.query_params or ask(filled(HAS_MODELS, collection=key)).is_empty()
    if "left" in st.query_params and "show" not in st.query_params:
        st.session_state["show"] = TWO  # a link to two things, whatever was shown before
    part = choose(
        "Compare",
        "show",
        [TWO, MODELS],
        default=TWO if asked else MODELS,
        widget="segmented_control",
        help="Any two features, operators, SAEs, collections, entities or graphs; or the models that `ato run compare` read.",
    )
    if part == MODELS:
        _models(key)
    else:
        any_two(key)


def _models(key: str) -> None:
    """All models, then the features of one pair in one of them."""
    trajectory(key)
    distances(key)
    about = chosen(key)
    scatter(about)
    changed(about)
