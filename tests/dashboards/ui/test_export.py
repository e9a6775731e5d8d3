"""Export of a panel: its charts, all rows, and nothing before it is asked for."""

import io
from datetime import date
from zipfile import ZipFile

import altair as alt
import polars as pl
import pypdfium2
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from dashboards.ui import export as module
from dashboards.ui.chart_files import FORMATS, PNG_DPI, chart_file
from dashboards.ui.drawing import Drawn, draw_chart, drawn_charts
from warehouse.exports.about import About

ABOUT = About("Title", "Caption.", "3 rows", "select 1", "c-1", date(2026, 1, 2))
ROWS = pl.DataFrame({"x": [1.0, 2.0, float("nan")], "name": ["a", "b ↵", "c"]})


def bars(rows=ROWS):
    return alt.Chart(rows).mark_bar().encode(x="x:Q", y="name:N")


def drawn(charts=1):
    """A page of one panel with some charts."""
    script = f"""
import altair as alt
import streamlit as st
from dashboards.ui import panels
from dashboards.ui.drawing import draw_chart
panels.link = lambda *args, **more: None
def draw(rows):
    for i in range({charts}):
        draw_chart(alt.Chart(rows).mark_point().encode(x="range:Q"), alt=f"Points {{i}}")
panels.panel("Title", "select * from range(3)", draw, note="A `note`. Tick a row to open it.")
"""
    app = AppTest.from_string(script, default_timeout=60).run()
    assert not app.exception
    return app


def test_nothing_is_offered_before_the_panel_is_asked(empty):
    assert not drawn().get("download_button")


@pytest.mark.parametrize("charts", [0, 1, 2])
def test_every_chart_and_all_rows_are_offered(empty, monkeypatch, charts):
    offered = {}
    monkeypatch.setattr(module.st, "popover", opened)
    monkeypatch.setattr(module.st, "download_button", lambda label, make, name, *_, **__: offered.update({name: make}))
    drawn(charts)
    own = ["title"] if charts == 1 else [f"title-{i + 1}" for i in range(charts)]
    names = [f"{stem}.{kind}" for stem in own for kind in FORMATS]
    assert list(offered) == [*names, "title.csv", "title.parquet", "title.tex", "title.zip"]
    assert pl.read_parquet(io.BytesIO(offered["title.parquet"]()))["range"].to_list() == [0, 1, 2]
    assert "A note. n: 3 rows." in offered["title.tex"]().decode()
    with ZipFile(io.BytesIO(offered["title.zip"]())) as archive:
        assert archive.namelist() == [*names, "title.csv", "title.parquet", "title.tex", "title.csv-metadata.json"]


class opened:
    """A popover that is open."""

    open = True

    def __init__(self, *args, **options):
        assert options["on_change"] == "rerun"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


def test_charts_are_those_of_the_panel_that_is_drawn(monkeypatch):
    monkeypatch.setattr("dashboards.ui.drawing.st.altair_chart", lambda *args, **options: options)
    first, second = bars(), bars()
    draw_chart(first, alt="before")
    with drawn_charts() as charts:
        assert draw_chart(second, alt="inside", key="k") == {"alt": "inside", "key": "k"}
    draw_chart(first, alt="after")
    assert charts == [Drawn(second, "inside")]


def test_a_chart_is_vector_text_in_svg_and_pdf_and_dots_in_png():
    svg = chart_file(bars(), "svg", ABOUT).decode()
    assert ">b ↵</text>" in svg
    assert "<image" not in svg
    assert "http" not in svg.replace("http://www.w3.org/", "").replace("http://purl.org/dc/", "")
    page = pypdfium2.PdfDocument(chart_file(bars(), "pdf", ABOUT))[0]
    assert {"x", "a", "↵"} <= set(page.get_textpage().get_text_range())
    assert not list(page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE]))
    with Image.open(io.BytesIO(chart_file(bars(), "png", ABOUT))) as picture:
        assert picture.width == pytest.approx(page.get_width() * PNG_DPI / 72, abs=5)


def test_equal_rows_give_equal_files():
    for kind in FORMATS:
        assert chart_file(bars(), kind, ABOUT) == chart_file(bars(), kind, ABOUT)


def test_a_chart_of_more_rows_than_altair_allows_is_exported():
    rows = pl.DataFrame({"x": range(6000), "name": ["a"] * 6000})
    assert chart_file(bars(rows), "svg", ABOUT).count(b"role-mark") >= 1
