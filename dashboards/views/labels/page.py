"""Page ``labels``: how far descriptions of features can be trusted, which fail, and what they cost."""

from dashboards.ui.address import collection
from dashboards.ui.panels import beside
from dashboards.views.labels.about import chosen
from dashboards.views.labels.classes import agreement, classes
from dashboards.views.labels.costs import costs
from dashboards.views.labels.coverage import coverage
from dashboards.views.labels.scores import BY_JUDGE, BY_LAYER, BY_TIER, scores
from dashboards.views.labels.table import failing, labelled


def page() -> None:
    """Draw the page."""
    about = chosen(collection())
    beside(lambda: scores(BY_LAYER, about), lambda: scores(BY_TIER, about))
    beside(lambda: scores(BY_JUDGE, about), lambda: coverage(about))
    labelled(about)
    failing(about)
    beside(lambda: classes(about), lambda: agreement(about))
    costs(about)
