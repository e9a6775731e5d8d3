"""Opening the page of features at one feature."""

from streamlit.testing.v1 import AppTest

from tests.dashboards.opened_pages import open_page, read_page
from tests.tasks.reported_study import SAES


def open_feature(feature_id: int, sae: str = SAES[6], **address: object) -> AppTest:
    """The page of one feature."""
    return open_page("features", sae=sae, feature_id=feature_id, **address)


def read_feature(feature_id: int, sae: str = SAES[6], **address: object) -> AppTest:
    """The same for those who only look at it."""
    return read_page("features", sae=sae, feature_id=feature_id, **address)
