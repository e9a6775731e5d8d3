"""Page ``compare``: how transport differs in other models or checkpoints, and which features changed."""

from dashboards.ui.address import collection
from dashboards.views.compare.about import chosen
from dashboards.views.compare.features import changed, scatter
from dashboards.views.compare.models import distances, trajectory


def page() -> None:
    """Draw the page: all models, then the features of one pair in one of them."""
    key = collection()
    trajectory(key)
    distances(key)
    about = chosen(key)
    scatter(about)
    changed(about)
