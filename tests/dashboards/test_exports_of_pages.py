"""Every chart of every page is exported, in two clicks."""

import ast
import io
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pypdfium2
import pytest

import dashboards
from dashboards.screenshots.browser import settled
from dashboards.ui import panels
from dashboards.ui.chart_files import chart_file
from dashboards.ui.export import export as offered
from dashboards.views.overview import cards
from dashboards.views.sql import page as sql_page
from tests.dashboards.opened_pages import OPENINGS, open_page
from tests.dashboards.visited_pages import keep
from tests.warehouse.exports.latex_reader import table
from warehouse.exports.about import About, sizes
from warehouse.exports.latex import latex_file
from warehouse.exports.tables import csv_file, parquet_file

VIEWS = Path(dashboards.__file__).with_name("views")


DIRECT = (
    "altair_chart",
    "vega_lite_chart",
    "line_chart",
    "bar_chart",
    "scatter_chart",
    "area_chart",
    "pyplot",
    "image",
)
"""What Streamlit draws without the panel's knowing."""


def test_pages_draw_charts_so_that_panels_know_them():
    direct = [
        f"{path.name}:{node.lineno}"
        for path in VIEWS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in DIRECT
    ]
    assert direct == [], "draw_chart and draw_picture of dashboards.ui.drawing draw what can be exported"


@pytest.mark.slow
@pytest.mark.parametrize("name", OPENINGS)
def test_every_chart_and_every_table_of_a_page_is_a_file(study, monkeypatch, name):
    made = []

    def export(title, note, sql, rows, charts, **options):
        about = About(title, note, sizes(rows), sql, "c", date(2026, 1, 2))
        for drawn in charts:
            root = ElementTree.fromstring(chart_file(drawn.chart, "svg", about).decode())
            parts = ("role-mark" in part.get("class", "") and len(part) for part in root.iter())
            assert any(parts) or isinstance(drawn.chart, str), (title, "an empty chart")
        parquet_file(rows, about)
        assert csv_file(rows).count(b"\n") >= rows.height
        assert len(table(latex_file(rows, about).decode())[2]) == rows.height
        made.append(title)
        offered(title, note, sql, rows, charts, **options)

    for module in (panels, cards, sql_page):
        monkeypatch.setattr(module, "export", export)
    page, about = OPENINGS[name]
    open_page(page, **about)
    assert made or name == "reference"


@pytest.mark.platform
@pytest.mark.timeout(300)
def test_two_clicks_lead_from_a_panel_to_its_chart_and_to_its_table(visit, tmp_path):
    page = visit("transport")

    def second_click(name):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path.read_bytes()

    page.get_by_role("button", name="Export").first.click()
    settled(page)
    page.get_by_role("button", name="SVG", exact=True).wait_for()
    keep(page, "export", tmp_path)
    svg = ElementTree.fromstring(second_click("SVG").decode())
    statement = svg.find(".//{http://purl.org/dc/elements/1.1/}source").text
    assert svg.find("{http://www.w3.org/2000/svg}title").text == "Source × target"
    caption, _, cells = table(second_click("LaTeX").decode())
    assert caption.startswith("Source × target.")
    rows = pq.read_table(io.BytesIO(second_click("Parquet")))
    assert rows.num_rows == len(cells) > 0
    assert rows.schema.metadata[b"statement"].decode() == statement
    assert pypdfium2.PdfDocument(second_click("PDF")).get_metadata_value("Statement") == statement
