"""``ato show``: the summary, its picture and its queries, and the main table of each stage."""

import re

import pytest

from flows.commands.show import EXAMPLES, draw_summary, show_stage, show_summary
from flows.stages import STAGES
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import run_select

SHOWN = [name for name, stage in STAGES.items() if stage.query]


def test_the_summary_has_its_tables_and_queries_that_work(study, capsys):
    show_summary(study)
    printed = capsys.readouterr().out
    for title in ("Sparse autoencoders", "Selected features", "Transport map", "Best fitted operator", "Causal check"):
        assert title in printed
    for query in EXAMPLES:
        assert query in printed
        run_select(connect(), query)


def test_the_picture_needs_nothing_from_elsewhere(study, tmp_path):
    draw_summary(study, tmp_path / "summary.svg")
    picture = (tmp_path / "summary.svg").read_text(encoding="utf-8")
    assert "Transport map" in picture.replace("&#160;", " ")
    assert re.findall(r"url\(http|@font-face|<image", picture) == []


@pytest.mark.parametrize("stage", SHOWN)
def test_the_main_table_of_each_stage_has_rows(stage, study, capsys):
    show_stage(stage, study)
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.strip() == f"{stage}: {study}"
    assert len(rows) > 4
