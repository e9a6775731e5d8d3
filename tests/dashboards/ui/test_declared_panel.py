"""A declared chart over rows: its legend names what is there, and one declaration serves many rows."""

import altair as alt
import polars as pl

from dashboards.ui.charts import coloured, map_scale
from dashboards.ui.declared import ONE, ROWS, Column, interval, names
from dashboards.ui.declared_panel import of_rows

COLOURS = {"known": "#000001", "absent": "#000002"}
POINTS = alt.Chart(ROWS).mark_point().encode(x="x:Q", color=coloured("kind", COLOURS, "kind", ("#000003", "#000004")))


def scale_of(chart):
    """Name -> colour, as the browser gets them."""
    scale = chart.to_dict()["encoding"]["color"]["scale"]
    return dict(zip(scale["domain"], scale["range"], strict=True))


def test_the_legend_names_what_there_is_and_the_unlisted_take_the_colours_that_are_left():
    rows = pl.DataFrame({"x": [1, 2, 3], "kind": ["new", "known", None], "tokens": [["a"], [], None]})
    drawn = of_rows(POINTS, rows)
    assert scale_of(drawn) == {"known": "#000001", "new": "#000003"}
    assert drawn.data.columns == ["x", "kind"], "lists are not drawn"


def test_a_scale_of_numbers_is_not_one_of_names():
    chart = alt.Chart(ROWS).mark_rect().encode(color=alt.Color("x:Q", scale=map_scale()))
    assert scale_of(of_rows(chart, pl.DataFrame({"x": [0.6, 0.7]}))) == scale_of(chart)


def test_a_declaration_stays_as_it_is():
    before = POINTS.to_dict()
    of_rows(POINTS, pl.DataFrame({"x": [1], "kind": ["known"]}))
    assert POINTS.to_dict() == before


def test_a_line_that_stands_for_itself_keeps_its_own_row():
    chart = alt.layer(alt.Chart(ONE).mark_rule().encode(x=alt.datum(0)), POINTS, data=ROWS)
    drawn = of_rows(chart, pl.DataFrame({"x": [1, 2], "kind": ["known", "known"]})).to_dict()
    rule, points = drawn["layer"]
    assert len(drawn["datasets"][rule["data"]["name"]]) == 1
    assert "data" not in points


def test_a_statement_selects_the_columns_that_its_table_shows_on_lines_that_can_be_read():
    columns = [*interval("r2", "r2"), *(Column(f"number_of_features_{n}", "features") for n in range(20))]
    listed = names(columns)
    assert listed.replace("\n    ", " ").split(", ") == [column.name for column in columns]
    assert max(map(len, listed.splitlines())) <= 120
