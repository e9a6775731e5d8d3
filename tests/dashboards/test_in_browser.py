"""All pages in a real browser, by clicks, on a phone and in the dark; nothing is asked of anybody outside.

The warehouse is the small study, or the one that ATO_TEST_WAREHOUSE names. Pictures are kept in the folder that
ATO_TEST_ARTIFACTS names, else in the test's own folder.
"""

import os
import re
from urllib.parse import urlencode

import pytest

from dashboards.screenshots.browser import served, settled
from dashboards.ui.navigation import PAGES
from dashboards.ui.warm_up import PARTS
from tests.dashboards.opened_pages import OPENINGS
from tests.dashboards.visited_pages import arrived, keep, parameters

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]
ROW_MARKER = {"x": 16, "y": 52}
"""Where the first row of a table is selected."""
CUT_LABELS = """() => [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].flatMap(chart => {
    const edge = chart.getBoundingClientRect();
    return [...chart.querySelectorAll('.role-legend-label text, .role-axis-label text')].filter(label => {
        const box = label.getBoundingClientRect();
        return box.width && (box.left < edge.left - 2 || box.right > edge.right + 2);
    }).map(label => label.textContent);
})"""
"""Labels of charts that begin or end outside of their chart."""
RAW_TITLES = """() => [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].flatMap(chart =>
    [...chart.querySelectorAll('.role-axis-title text, .role-legend-title text')].map(title => title.textContent)
).filter(title => /[a-z]_[a-z]/.test(title))"""
"""Titles of axes and legends that are names of columns."""
CUT_LINKS = """() => [...document.querySelectorAll('[data-testid=stPageLink-NavLink] > span')]
    .filter(words => words.scrollWidth > words.clientWidth + 1).map(words => words.textContent)"""
"""Links whose words are cut."""
COVERED = """() => [...document.querySelectorAll('[data-testid=stElementToolbar]')].flatMap(bar => {
    const over = bar.getBoundingClientRect();
    return [...document.querySelectorAll('[data-testid=stPopoverButton]')].filter(button => {
        const box = button.getBoundingClientRect();
        return over.width && box.left < over.right && over.left < box.right && box.top < over.bottom - 1 && over.top < box.bottom - 1;
    }).map(button => button.textContent);
})"""
"""Buttons that lie below those of a table."""


@pytest.fixture(scope="module")
def address(study_root, tmp_path_factory):
    """Of the pages over the warehouse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", os.environ.get("ATO_TEST_WAREHOUSE", str(study_root)))
        with served(tmp_path_factory.mktemp("server") / "dashboard.log") as found:
            yield found


def follow(page, label: str) -> None:
    """Click a page's link in the navigation, in the list of further ones where the window is too narrow for all."""
    named = re.compile(rf"{label}$")
    link = page.get_by_test_id("stTopNavLink").filter(has_text=named)
    if link.count() == 0 or link.evaluate(
        "link => link.closest('[inert]') !== null || !link.checkVisibility({opacityProperty: true})"
    ):
        page.get_by_test_id("stTopNav").get_by_text(re.compile(r"^\s*\d+ more")).click()
        link = page.get_by_test_id("stTopNavDropdownLink").filter(has_text=named)
    link.click()


def test_each_page_is_reached_by_the_navigation_and_shows_pictures(visit, tmp_path):
    page = visit()
    for name, (label, *_) in PAGES.items():
        follow(page, label)
        page.wait_for_function(
            "title => document.querySelector('[data-testid=stMain] h1')?.innerText === title", arg=label
        )
        settled(page)
        keep(page, f"page-{name}", tmp_path)
        assert page.title() == f"{label} · Activation transport" or page.title().endswith(
            f" · {label} · Activation transport"
        )
        drawn = (
            page.get_by_test_id("stVegaLiteChart")
            .or_(page.get_by_test_id("stDataFrame"))
            .or_(page.locator("[data-testid=stMain] img"))
        )
        assert drawn.or_(page.locator("[data-testid=stMarkdown] li")).count() > 0
        assert parameters(page)["collection"]


def test_the_program_of_charts_and_tables_is_loaded_while_the_first_page_is_read(visit):
    page = visit()
    loaded = "names => names.every(name => performance.getEntriesByType('resource').some(file => file.name.includes(`/js/${name}.`)))"
    page.wait_for_function(loaded, arg=list(PARTS))


def test_clicks_lead_from_the_map_to_an_operator_to_a_feature_to_its_sql(visit, tmp_path):
    page = visit("transport")
    cell = page.locator("[data-testid=stVegaLiteChart] path[aria-roledescription='rect mark']").last
    cell.click(force=True)
    chosen = arrived(page, "operators", "collection", "source_layer", "target_layer")
    assert int(chosen["source_layer"]) < int(chosen["target_layer"])
    keep(page, "click-operator", tmp_path)
    table = page.locator(".st-key-features-of-the-operator [data-testid=stDataFrame]")
    table.scroll_into_view_if_needed()
    table.click(position=ROW_MARKER)
    assert arrived(page, "features", "feature_id")["feature_id"].isdigit()
    keep(page, "click-feature", tmp_path)
    page.get_by_test_id("stExpander").filter(has_text="SQL").first.click()
    page.get_by_role("link", name="Open in the SQL page").first.click()
    statement = arrived(page, "sql_bench", "sql")["sql"]
    assert "select" in statement
    assert statement in page.locator("textarea").first.input_value()
    keep(page, "click-sql", tmp_path)
    page.go_back()
    page.wait_for_url("**/features?**")
    page.locator("h1", has_text=PAGES["features"].title).wait_for()  # the browser's way back leads back
    settled(page)


@pytest.mark.parametrize("name", OPENINGS)
def test_a_page_fits_a_phone_and_follows_a_dark_system(visit, tmp_path, name):
    path, about = OPENINGS[name]
    address = f"{path}?{urlencode(about)}" if about else path
    page = visit(
        "" if name == next(iter(PAGES)) else address, width=400, height=860, color_scheme="dark", has_touch=True
    )
    keep(page, f"phone-{name}", tmp_path)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 400, "nothing hangs out"
    assert page.evaluate(CUT_LABELS) == [], "a legend or an axis is cut"
    assert page.evaluate(RAW_TITLES) == []
    assert page.evaluate(CUT_LINKS) == []
    assert page.evaluate(COVERED) == [], "the buttons of a table lie over another"
    shades = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert max(map(int, re.findall(r"\d+", shades)[:3])) < 64
