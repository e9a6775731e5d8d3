"""Charts of served pages are drawn quickly, and are the same."""

import ast
from pathlib import Path

import altair as alt
import polars as pl
import pytest
from altair.utils import schemapi

import dashboards
from dashboards.ui import drawing

ROWS = pl.DataFrame({"x": [1, 2], "y": [0.5, 0.25], "kind": ["a", "b"]})


def chart():
    base = alt.Chart(ROWS).encode(x=alt.X("x:Q"), y=alt.Y("y:Q", title="value"), tooltip=[alt.Tooltip("kind:N")])
    colour = alt.ColorValue("blue", condition={"test": "datum.kind == 'a'", "value": "red"})
    ends = base.mark_rule().encode(y2=alt.Y2("x"))
    return alt.layer(base.mark_point().encode(color=colour), ends).properties(height=alt.Step(12))


@pytest.fixture
def quick(monkeypatch):
    for owner, name in ((drawing, "CHECKED"), (schemapi, "DEBUG_MODE")):
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


def test_encodings_are_channels_since_altair_searches_all_its_classes_for_that_of_a_text_or_bare_value():
    """``x="x:Q"``, ``y2=alt.datum(0)`` and the like cost some 10 ms each, every time that a chart is made."""
    found = []
    for path in sorted(Path(dashboards.__file__).parent.rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        for call in calls:
            told = ast.unparse(call.func)
            given = [word.value for word in call.keywords if told.endswith(".encode") or word.arg == "tooltip"]
            parts = [part for value in given for part in (value.elts if isinstance(value, ast.List) else [value])]
            texts = [part for part in parts if isinstance(part, ast.Constant | ast.JoinedStr | ast.Dict)]
            bare = told in {"alt.value", "alt.datum", "alt.condition", "alt.when"}
            found += [f"{path.name}:{call.lineno}"] * bool(texts or bare)
    assert not found


def test_channels_of_charts_are_made_without_a_search(monkeypatch):
    monkeypatch.setattr(schemapi.SchemaBase, "from_dict", lambda *_, **__: pytest.fail("Altair searches its classes"))
    chart().to_dict(validate=False)


def test_no_tooltip_shows_the_name_of_a_column_with_underscores():
    found = []
    for path in sorted(Path(dashboards.__file__).parent.rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            is_tooltip = ast.unparse(call.func) == "alt.Tooltip" and isinstance(call.args[0], ast.Constant)
            if is_tooltip and "_" in call.args[0].value and "title" not in {word.arg for word in call.keywords}:
                found.append(f"{path.name}:{call.lineno}")
    assert not found
