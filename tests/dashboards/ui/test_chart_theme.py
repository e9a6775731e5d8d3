"""What all charts have by their theme, and what the browser makes of it."""

import altair as alt
import pytest

from dashboards.screenshots.browser import settled
from dashboards.ui.chart_theme import fitted_width, fitting_columns

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


def test_a_number_of_columns_is_known_by_the_width_that_it_was_asked_for():
    assert fitted_width(fitting_columns(77)) == 77
    assert fitted_width({"expr": "max(1, floor(width / 5))"}) is None
    assert fitted_width(2) is None


NUMBERS = """() => [...document.querySelectorAll('[data-testid=stVegaLiteChart] .role-axis')].flatMap(axis => {
    const seen = [...axis.querySelectorAll('.role-axis-label text')].filter(label => label.getAttribute('opacity') !== '0');
    const boxes = seen.map(label => label.getBoundingClientRect());
    return boxes.length > 2 && boxes.every(box => Math.abs(box.top - boxes[0].top) < 1) ? [boxes.length] : [];
})"""
"""How many labels each axis below a chart has."""


@pytest.mark.platform
@pytest.mark.parametrize("name", ["operators", "transport", "fate"])
def test_numbers_below_a_wide_chart_are_few_enough_to_stand_apart(visit, name):
    page = visit(name, height=5000)
    found = page.evaluate(NUMBERS)
    assert found
    assert max(found) <= 14


@pytest.mark.platform
@pytest.mark.parametrize("width", [400, 1280])
def test_the_label_of_the_first_category_stands_beside_its_mark(visit, width):
    page = visit("causal", width=width)
    page.evaluate("document.querySelectorAll('[data-testid=stVegaLiteChart]').length")
    settled(page)
    found = page.evaluate(BESIDE.replace(".at(-1)", "[1]"))
    assert len(found) >= 2
    assert max(found) < 2
