"""The reader in a real browser: from a feature's example to its document, the marked token in sight, features on a click."""

import re

import pytest

from dashboards.screenshots.browser import served, settled
from tests.dashboards.planted_texts import FEATURE, LAYER, SAE, TEXTS
from tests.dashboards.views.graphs.test_in_browser import ACTIVE
from tests.dashboards.visited_pages import arrived, keep, parameters

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]
ROW_MARKER = {"x": 16, "y": 52}
TEXT = ".token-view .text"


@pytest.fixture(scope="module")
def address(planted_root, tmp_path_factory):
    """Of the pages over the planted documents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(planted_root.root))
        with served(tmp_path_factory.mktemp("server") / "dashboard.log") as found:
            yield found


def texts(page):
    page.locator(TEXT).first.wait_for()
    return [one.text_content() for one in page.locator(TEXT).all()]


def test_from_an_example_one_click_leads_to_its_token_in_the_document(visit, tmp_path):
    page = visit(f"features?sae={SAE}&feature_id={FEATURE}", height=700)
    page.get_by_role("link", name=re.compile("planted, document union")).click()
    at = int(arrived(page, "reader", "position")["position"])
    assert texts(page) == list(TEXTS["union"])
    marked = page.locator(".piece.marked")
    assert marked.text_content() == TEXTS["union"][0][at]
    page.wait_for_timeout(1500)  # until it has scrolled
    assert marked.evaluate("e => e.getBoundingClientRect().top") < 700
    assert f"L{LAYER}/{FEATURE}" in marked.get_attribute("title")
    keep(page, "reader-marked", tmp_path)
    page.get_by_role("link", name="Its tokens").first.click()
    arrived(page, "sql_bench", "sql")
    page.locator("[data-testid=stDataFrame]").last.click(position=ROW_MARKER)
    assert arrived(page, "reader", "sequence")["sequence"] == "0", "a row leads back to its place in the text"
    page.locator(".piece.marked").wait_for()


def test_a_click_on_a_token_lists_its_features_and_highlights_one(visit, planted_root, tmp_path):
    page = visit(f"reader?document=union&token_sae={SAE}")
    _, ids = planted_root.sequences[0]
    token = page.locator(".piece.known").nth(5)
    token.click()
    panel = page.locator(".panel")
    rows = panel.locator("tbody tr")
    dense = planted_root.activations(ids)[5]
    assert rows.count() == (dense > 0).sum()
    assert rows.first.locator("a").text_content() == f"L{LAYER}/{dense.argmax()}"
    assert f"{dense.max():.3f}" in rows.first.text_content()
    assert f"L{LAYER}/{dense.argmax()} {dense.max():.3f}" in token.get_attribute("title")
    keep(page, "reader-token", tmp_path)
    rows.first.get_by_role("button", name="highlight").click()
    page.wait_for_url(f"**features={SAE}%2F{dense.argmax()}**")
    settled(page)
    page.locator(".piece.known[style*=background]").first.wait_for()
    assert "background" in page.locator(".piece.known").nth(5).get_attribute("style")
    page.locator(".piece.known").nth(5).click()
    page.locator(".panel a").first.click()
    page.wait_for_url(f"**/features?**feature_id={dense.argmax()}**")


def test_a_token_is_reached_and_opened_by_the_keyboard(visit):
    page = visit(f"reader?document=union&token_sae={SAE}")
    page.locator(".piece.known").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate_handle(ACTIVE).get_property("textContent").json_value() == TEXTS["union"][0][1]
    assert page.locator(".panel").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".panel").count() == 0


def test_a_ticked_document_of_the_list_opens_and_markup_of_the_corpus_stays_text(visit, tmp_path):
    page = visit("reader?words=union")
    page.locator("[data-testid=stDataFrame]").first.click(position=ROW_MARKER)
    page.wait_for_url("**document=union**")
    settled(page)
    assert texts(page) == list(TEXTS["union"])
    assert page.locator(f"{TEXT} b").count() == 0
    keep(page, "reader-document", tmp_path)
    page.get_by_role("button", name="All documents").click()
    page.locator("[data-testid=stDataFrame]").first.wait_for()
    assert parameters(page)["words"] == "union"


def test_a_sentence_of_ones_own_is_read_with_its_features_and_transport(visit, tmp_path):
    page = visit(f"features?sae={SAE}&feature_id={FEATURE}&sentence=The+caf%C3%A9.")
    assert texts(page) == ["The café."]
    page.locator(".piece.known").nth(2).click()
    assert "predicted" in page.locator(".panel thead").text_content()
    field = page.get_by_label("Sentence")
    field.fill("Another one")
    field.press("Enter")
    page.locator(TEXT).filter(has_text="Another one").wait_for()
    assert parameters(page)["sentence"] == "Another one"
    keep(page, "own-text", tmp_path)


def test_it_fits_a_phone_in_the_dark(visit, tmp_path):
    page = visit(
        f"reader?document=union&token_sae={SAE}&features={SAE}/{FEATURE}", width=400, height=860, color_scheme="dark"
    )
    page.locator(".piece.known").nth(3).click()
    keep(page, "reader-phone", tmp_path)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 400
