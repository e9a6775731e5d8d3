"""Page ``labels``: how far descriptions of features can be trusted, which fail, and what they cost."""

from collections.abc import Callable

import streamlit as st

from dashboards.ui.address import collection
from dashboards.views.labels.about import chosen
from dashboards.views.labels.classes import agreement, classes
from dashboards.views.labels.costs import costs
from dashboards.views.labels.coverage import coverage
from dashboards.views.labels.scores import BY_JUDGE, BY_LAYER, BY_TIER, scores
from dashboards.views.labels.table import failing, labelled


def page() -> None:
    """Draw the page."""
    about = chosen(collection())
    _beside(lambda: scores(BY_LAYER, about), lambda: scores(BY_TIER, about))
    _beside(lambda: scores(BY_JUDGE, about), lambda: coverage(about))
    labelled(about)
    failing(about)
    _beside(lambda: classes(about), lambda: agreement(about))
    costs(about)


def _beside(left: Callable[[], None], right: Callable[[], None]) -> None:
    """Two panels side by side."""
    columns = st.columns(2)
    with columns[0]:
        left()
    with columns[1]:
        right()
