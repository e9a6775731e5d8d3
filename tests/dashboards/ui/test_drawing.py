"""Charts of served pages are drawn quickly, and are the same."""

import altair as alt
import polars as pl
import pytest
from altair.utils import schemapi

from dashboards.ui import drawing

ROWS = pl.DataFrame({"x": [1, 2], "y": [0.5, 0.25], "kind": ["a", "b"]})


def chart():
    base = alt.Chart(ROWS).encode(x="x:Q", y=alt.Y("y:Q", title="value"), tooltip=["kind:N", "y:Q"])
    colour = alt.condition("datum.kind == 'a'", alt.value("red"), alt.Color("kind:N"))
    return alt.layer(base.mark_point().encode(color=colour), base.mark_rule().encode(y2="x")).properties(
        height=alt.Step(12)
    )


@pytest.fixture
def quick(monkeypatch):
    for owner, name in ((drawing, "CHECKED"), (schemapi, "DEBUG_MODE"), (schemapi, "_FromDict")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back behind the test
    return drawing.draw_quickly


def test_a_chart_that_is_drawn_quickly_is_the_same_chart(quick):
    expected = chart().to_dict()
    quick()
    assert drawing._Unchecked(chart()).to_dict() == expected


def test_tests_hold_charts_against_the_schema():
    assert drawing.CHECKED
    with pytest.raises(Exception, match="no such scale"):
        alt.Chart(ROWS).mark_point().encode(x=alt.X("x:Q", scale=alt.Scale(type="no such scale"))).to_dict()
