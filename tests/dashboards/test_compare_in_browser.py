"""Any two things in a real browser: chosen by fields, swapped, linked, and on a phone."""

import pytest

from dashboards.screenshots.browser import settled
from tests.dashboards.visited_pages import arrived, keep, parameters
from tests.tasks.reported_study import SAES

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]


def test_a_feature_leads_to_its_comparison_where_another_is_typed_and_the_sides_swap(visit, tmp_path):
    page = visit(f"features?sae={SAES[4]}&feature_id=1")
    page.get_by_text("Compare with …").click()
    assert arrived(page, "compare", "left", "right")["left"] == f"feature:{SAES[4]}/1"
    field = page.get_by_role("combobox", name="Right")
    field.fill("L6/2")
    field.press("Enter")
    page.wait_for_url(f"**right=feature%3A{SAES[6]}%2F2**")
    settled(page)
    keep(page, "compare-features", tmp_path)
    page.get_by_role("button", name="Swap").click()
    page.wait_for_url(f"**left=feature%3A{SAES[6]}%2F2**")
    settled(page)
    assert parameters(page)["right"] == f"feature:{SAES[4]}/1"
    assert page.get_by_test_id("stVegaLiteChart").count() >= 3
    page.reload()
    settled(page)
    assert parameters(page)["left"] == f"feature:{SAES[6]}/2"


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("features", f"feature:{SAES[4]}/1", f"feature:{SAES[6]}/2"),
        ("operators", "operator:ridge-3-6", "operator:identity-3-6"),
        ("saes", f"sae:{SAES[4]}", f"sae:{SAES[6]}"),
        ("collections", "collection:tiny-0123abcd", "collection:tiny-0123abcd"),
        ("graphs", "graph:capital/attribution", "graph:river/attribution"),
    ],
)
def test_a_comparison_fits_a_phone_in_the_dark(visit, tmp_path, name, left, right):
    page = visit(f"compare?left={left}&right={right}", width=400, height=860, color_scheme="dark")
    keep(page, f"compare-phone-{name}", tmp_path)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 400, "nothing hangs out"
    assert page.get_by_role("heading", name="Differences").is_visible()
