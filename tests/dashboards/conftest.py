"""Warehouses for the pages: an empty one, and a small one in which every page has something to show."""

from functools import cache

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner

from tests.dashboards.whole_study import build_whole_study


@pytest.fixture(autouse=True, scope="session")
def _packages_are_looked_through_once():
    """For each app that is opened, Streamlit reads the metadata of all installed packages in search of components."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture(autouse=True)
def _all_statements_are_shown(monkeypatch):
    """As if a reader had opened the statement of every panel."""
    monkeypatch.setattr("dashboards.ui.panels.OPENED", True)


@pytest.fixture(scope="session")
def study_root(tmp_path_factory):
    """Folder of the small study; nobody writes to it."""
    return build_whole_study(tmp_path_factory.mktemp("study")).root


@pytest.fixture
def study(study_root, monkeypatch):
    """The small study is the warehouse of the pages; its folder."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(study_root))
    return study_root


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty warehouse is that of the pages; its folder."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    return tmp_path / "warehouse"
