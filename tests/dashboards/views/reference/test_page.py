"""The page of reference: what words mean and what settings do, on every visit and from every page."""

import pytest

from dashboards.ui.navigation import PAGES
from tests.dashboards.opened_pages import read_page


def _text(app) -> str:
    return "\n".join(block.value for block in app.markdown)


def test_the_glossary_says_what_a_verdict_is_with_its_limits(study):
    shown = _text(read_page("reference", find="verdict"))
    assert shown.startswith("#### verdict")
    assert "`evaluate.transported_above`, by default `0.7`" in shown
    assert "`evaluate.computed_below`, by default `0.3`" in shown


def test_settings_are_found_by_a_word_of_their_meaning(study):
    shown = _text(read_page("reference", part="Settings", find="ablat"))
    assert "`features.ablation_sequences`" in shown
    assert "`saes.lr`" not in shown
    assert "Nothing about" in read_page("reference", find="xyzzy").info[0].value


def test_a_link_to_the_page_cannot_make_it_fetch_an_image(study):
    (told,) = read_page("reference", find="![x](http://elsewhere/i.png)").info
    assert "![x]" not in told.value
    assert r"!\[x\]" in told.value


@pytest.mark.parametrize("name", PAGES)
def test_every_page_leads_to_the_glossary_and_the_settings(study, name):
    links = {link.proto.label: link.proto for link in read_page(name).get("page_link")}
    for label in ("Glossary", "Settings"):
        assert links[label].page == "reference"
        assert f"part={label}" in links[label].query_string
