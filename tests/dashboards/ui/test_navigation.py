"""The pages: each has a module with a function ``page``, and links keep the collection."""

import importlib

from dashboards.ui.navigation import PAGES
from tests.dashboards.opened_pages import open_page
from tests.tasks.reported_study import COLLECTION, SAES


def test_every_page_is_a_module_that_draws_it():
    for page in PAGES.values():
        assert callable(importlib.import_module(page.module).page)


def test_a_link_carries_the_collection_and_what_the_page_is_about(study):
    link = next(
        leaf.proto
        for leaf in open_page("saes", sae=SAES[6]).get("page_link")
        if leaf.proto.label.startswith("Features")
    )
    assert link.page == "features"
    assert f"sae={SAES[6]}" in link.query_string
    assert f"collection={COLLECTION}" in link.query_string
