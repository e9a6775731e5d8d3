"""The pages: each has a module with a function ``page``, and links keep the collection."""

import importlib

import pytest

from dashboards.ui.navigation import PAGES
from tests.dashboards.opened_pages import open_page, read_page
from tests.tasks.reported_study import COLLECTION, SAES


def test_every_page_is_a_module_that_draws_it():
    for page in PAGES.values():
        assert callable(importlib.import_module(page.module).page)


def test_a_link_carries_the_collection_and_what_the_page_is_about(study):
    link = next(
        leaf.proto
        for leaf in read_page("saes", sae=SAES[6]).get("page_link")
        if leaf.proto.label.startswith("Features")
    )
    assert link.page == "features"
    assert f"sae={SAES[6]}" in link.query_string
    assert f"collection={COLLECTION}" in link.query_string


@pytest.mark.parametrize(
    ("name", "address", "title"),
    [
        ("overview", {}, "Findings"),
        ("features", {"sae": SAES[6], "feature_id": 3}, f"Feature 3 of {SAES[6]} · Features"),
        ("operators", {"operator": "identity-2-6"}, "identity 2 → 6 · Operators"),
        ("causal", {"target_layer": 6, "source_layer": 5}, "5 → 6 · Causal"),
    ],
)
def test_the_browsers_title_names_the_page_and_what_it_is_about(study, monkeypatch, name, address, title):
    titles = []
    monkeypatch.setattr("streamlit.set_page_config", lambda page_title=None, **_: titles.append(page_title))
    open_page(name, **address)
    assert titles[-1] == f"{title} · Activation transport"
