"""Warehouses for the pages: an empty one, and a small one in which every page has something to show."""

import re
from functools import cache

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner

from dashboards.screenshots.browser import browser, served, settled
from dashboards.ui.loaded import small_model, stored_operator, stored_sae, vocabulary
from tests.dashboards.planted_texts import plant_texts
from tests.dashboards.whole_study import build_whole_study
from tests.warehouse.small_warehouse import COLLECTION
from warehouse.catalog.materialise import materialise

PROBES = re.compile(r"/_stcore/(health|host-config)")
"""Streamlit asks for these below a deep address first, and finds them at the root."""


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
    """Folder of the small study with its materialised marts, as every flow leaves them; nobody writes to it."""
    warehouse = build_whole_study(tmp_path_factory.mktemp("study"))
    assert materialise(warehouse, COLLECTION)
    return warehouse.root


@pytest.fixture
def study(study_root, monkeypatch):
    """The small study is the warehouse of the pages; its folder."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(study_root))
    return study_root


@pytest.fixture(scope="session")
def planted_root(tmp_path_factory):
    """Two planted documents on a tiny model; nobody writes to them."""
    return plant_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def planted(planted_root, monkeypatch):
    """The planted documents are the warehouse of the pages."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(planted_root.root))
    yield planted_root
    for cached in (small_model, stored_operator, stored_sae, vocabulary):
        cached.clear()


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty warehouse is that of the pages; its folder."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    return tmp_path / "warehouse"


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests."""
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(study_root, tmp_path_factory):
    """Of the pages over the small study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(study_root))
        with served(tmp_path_factory.mktemp("server") / "dashboard.log") as found:
            yield found


@pytest.fixture
def visit(chromium, address, tmp_path):
    """Opens a page of the module's ``address``, of a size and colour scheme.

    In the end asserts that no page complained or asked anybody outside.
    """
    outside, complaints, opened = [], [], []

    def told(message):
        if message.type == "error" and not PROBES.search(message.location.get("url", "")):
            complaints.append(f"{message.text} {message.location}")

    def make(path="", width=1280, height=1000, **options):
        page = chromium.new_page(viewport={"width": width, "height": height}, **options)
        page.set_default_timeout(60_000)
        page.on("request", lambda request: outside.append(request.url) if foreign(request.url) else None)
        page.on("console", told)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        opened.append(page)
        page.goto(f"{address}/{path}")
        settled(page)
        return page

    def foreign(url):
        return not url.startswith((address, address.replace("http:", "ws:"), "data:", "blob:"))

    yield make
    for page in opened:
        page.close()
    assert not outside, "pages ask nobody outside"
    assert not complaints
