"""A study with one richer operator, and its page."""

import pytest

from tests.dashboards.opened_pages import read_page
from tests.dashboards.views.operators.fitted_study import FIT, build_fitted_study


@pytest.fixture(scope="session")
def fitted_root(tmp_path_factory):
    """Folder of the study; nobody writes to it."""
    return build_fitted_study(tmp_path_factory.mktemp("fitted")).root


@pytest.fixture
def fitted(fitted_root, monkeypatch):
    """The page of that operator, as it opens."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(fitted_root))
    return read_page("operators", operator="ridge-l02-k02")


@pytest.fixture
def fit(fitted_root, monkeypatch):
    """What the page says of the operator's fit."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(fitted_root))
    return read_page("operators", operator="ridge-l02-k02", part=FIT)
