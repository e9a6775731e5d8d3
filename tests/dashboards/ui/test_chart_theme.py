"""What all charts have by their theme, and what the browser makes of it."""

import altair as alt
import pytest

from dashboards.screenshots.browser import settled
from dashboards.ui.chart_theme import fitting_columns

BESIDE = """() => {
    const chart = [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].at(-1);
    const middle = thing => { const box = thing.getBoundingClientRect(); return (box.top + box.bottom) / 2; };
    const labels = [...chart.querySelectorAll('.role-axis-label text')].filter(label => label.textContent.includes('→'));
    const marks = [...chart.querySelectorAll("path[aria-roledescription='point']")];
    return labels.map(label => Math.min(...marks.map(mark => Math.abs(middle(mark) - middle(label)))));
}"""
"""How many pixels the label of each category is above or below the nearest mark."""


def test_charts_take_the_theme():
    chart = alt.Chart(alt.Data(values=[])).mark_point().to_dict()
    assert alt.theme.active == "ato"
    assert chart["config"]["legend"]["columns"] == fitting_columns(130)


CROWDED = """() => [...document.querySelectorAll('[data-testid=stVegaLiteChart] .role-axis')].flatMap(axis => {
    const labels = [...axis.querySelectorAll('.role-axis-label text')].map(label => label.getBoundingClientRect());
    return labels.slice(1).filter((label, i) => Math.abs(label.top - labels[i].top) < 1 && label.left - labels[i].right < 8);
}).length"""
"""How many numbers below an axis are less than 8 pixels from the one before."""


@pytest.mark.platform
@pytest.mark.parametrize("name", ["operators", "transport", "fate"])
def test_numbers_below_a_wide_chart_are_few_enough_to_stand_apart(visit, name):
    page = visit(name, height=5000)
    axes = page.locator("[data-testid=stVegaLiteChart] .role-axis-label")
    assert max(len(axis.query_selector_all("text")) for axis in axes.element_handles()) <= 16
    assert page.evaluate(CROWDED) == 0


@pytest.mark.platform
@pytest.mark.parametrize("width", [400, 1280])
def test_the_label_of_the_first_category_stands_beside_its_mark(visit, width):
    page = visit("causal", width=width)
    page.evaluate("document.querySelectorAll('[data-testid=stVegaLiteChart]').length")
    settled(page)
    found = page.evaluate(BESIDE.replace(".at(-1)", "[1]"))
    assert len(found) >= 2
    assert max(found) < 2
