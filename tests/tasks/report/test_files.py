"""Figures and tables of the report as files: all of them, with the numbers of the report and the words of its captions."""

import csv
import json
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pypdfium2
import pytest

from ato.errors import UnavailableError
from flows.commands.report import make_report
from tasks.report.files import FIGURES, TABLES, write_files
from tasks.report.markdown import from_html, markdown
from tasks.report.opening import opening
from tasks.report.overview import sae_table
from tasks.report.panels import open_scope
from tasks.report.task import report_parts
from tasks.settings import ReportSettings
from tests.tasks.reported_study import COLLECTION, build_study
from tests.warehouse.exports.latex_reader import table

DAY = date(2026, 1, 2)


@pytest.fixture(scope="module")
def scope(tmp_path_factory):
    """Of the planted study."""
    root = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(root))
        yield open_scope(build_study(root), COLLECTION)


@pytest.fixture(scope="module")
def parts(scope):
    return report_parts(scope, ReportSettings())


@pytest.fixture(scope="module")
def panels(parts):
    return [panel for some in parts.values() for panel in some]


@pytest.fixture(scope="module")
def folder(scope, panels, tmp_path_factory):
    """The files of the report."""
    found = tmp_path_factory.mktemp("figures")
    write_files(found, scope, panels, DAY)
    return found


def test_every_figure_and_every_table_is_a_file_of_every_format(folder, panels):
    tables = {f"{p.key}.{kind}" for p in panels for kind in (*TABLES, "csv-metadata.json")}
    figures = {f"{p.key}.{kind}" for p in panels if p.draw for kind in FIGURES}
    assert {path.name for path in folder.iterdir()} == tables | figures


def test_tables_hold_the_rows_of_the_report(folder, panels, scope):
    for panel in panels:
        rows = scope.ask(panel.sql)
        found = pq.read_table(folder / f"{panel.key}.parquet")
        assert found.to_pylist() == rows
        assert found.schema.metadata[b"statement"].decode() == panel.sql
        with (folder / f"{panel.key}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == len(rows)
        beside = json.loads((folder / f"{panel.key}.csv-metadata.json").read_text())
        assert (beside["dc:source"], beside["dc:extent"]) == (panel.sql, panel.n)
        caption, _, cells = table((folder / f"{panel.key}.tex").read_text())
        assert len(cells) == len(rows)
        assert f"n: {panel.n[:3]}" in caption


def test_numbers_of_the_map_are_those_of_the_page(folder, scope):
    (cell,) = (
        c
        for c in pq.read_table(folder / "transport-map.parquet").to_pylist()
        if (c["source_layer"], c["leap"]) == (1, 5)
    )
    of_the_page = f"""select mean_r2, mean_r2_low, mean_r2_high from transport_map
        where collection = '{COLLECTION}' and operator = '{cell["operator"]}' and is_latest"""
    (expected,) = scope.ask(of_the_page)
    assert [cell[f"feature_r2{end}"] for end in ("", "_low", "_high")] == list(expected.values())


def test_figures_say_what_they_show(folder, panels):
    for panel in panels:
        if panel.draw is None:
            continue
        root = ElementTree.fromstring((folder / f"{panel.key}.svg").read_text(encoding="utf-8"))
        assert root.find("{http://www.w3.org/2000/svg}title").text == panel.title
        assert root.find(".//{http://purl.org/dc/elements/1.1/}source").text == panel.sql
        document = pypdfium2.PdfDocument(folder / f"{panel.key}.pdf")
        told = [document.get_metadata_value(name) for name in ("Title", "N", "Statement", "Collection")]
        assert told == [panel.title, panel.n, panel.sql, COLLECTION]
        assert "Type3" not in Path(folder / f"{panel.key}.pdf").read_bytes().decode("latin-1")


@pytest.mark.slow
def test_equal_tables_give_equal_files(folder, scope, panels, tmp_path):
    write_files(tmp_path, scope, panels, DAY)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_a_folder_that_cannot_be_made_is_one_line(scope, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UnavailableError, match="name a"):
        write_files(tmp_path / "taken", scope, [], DAY)


def test_markdown_says_what_the_page_says(scope, parts, panels):
    opened = opening(scope)
    text = markdown(opened, parts, "files")
    for panel in panels:
        assert f"(#{panel.key})" in text
        assert f'<a id="{panel.key}"></a>' in text
        assert f"```sql\n{panel.sql}\n```" in text
        assert (f"](files/{panel.key}.svg)" in text) == (panel.draw is not None)
    assert text.count("**yes") + text.count(": yes**") == sum(claim.answer == "yes" for claim in opened.claims)
    assert "0.79" in text
    assert "1 of 2 SAEs fail a quality threshold" in text
    assert 'title="' not in text


def test_text_is_no_markup_in_markdown():
    html = "<h3>a_b</h3><p>promotes <code>x`y</code> * &lt;i&gt;</p><ul><li>- one</li><li><strong>two</strong> | 2</li></ul>"
    assert from_html(html) == "### a\\_b\n\npromotes `x'y` \\* \\<i\\>\n\n- \\- one\n- **two** \\| 2"


def test_the_command_writes_markdown_and_its_files_side_by_side(scope, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.commands.report.write_files", lambda folder, *_: folder.mkdir(parents=True))
    found = make_report(COLLECTION, tmp_path / "paper" / "study.md", format_="md")
    assert found == str(tmp_path / "paper" / "study.md")
    assert (tmp_path / "paper" / "study_files").is_dir()
    assert "](study_files/transport-map.svg)" in Path(found).read_text(encoding="utf-8")
    make_report(COLLECTION, tmp_path / "other.md", format_="md", figures=tmp_path / "deep" / "figures")
    assert "](deep/figures/transport-map.svg)" in (tmp_path / "other.md").read_text(encoding="utf-8")


def test_the_table_of_saes_is_a_file_too(scope, tmp_path):
    write_files(tmp_path, scope, [sae_table(scope)], DAY)
    assert pq.read_table(tmp_path / "saes.parquet").to_pylist() == sae_table(scope).rows != []
    assert "fvu [low, high]" in table((tmp_path / "saes.tex").read_text())[1]
