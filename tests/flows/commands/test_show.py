"""``ato show``: the summary, its picture and its queries, and the main table of each stage."""

import io
import re
from collections import defaultdict

import pytest
from rich.console import Console

from flows.commands.show import draw_summary, show_findings, show_stage, show_summary
from flows.commands.sql import MAX_SHOWN_ROWS
from flows.commands.summary.operators import best_and_worst, efficiency_tables
from flows.commands.summary.queries import EXAMPLES, folded_command
from flows.commands.summary.study import stage_costs
from flows.stages import STAGES
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.finding_texts import OF_COLLECTION, findings_of
from warehouse.catalog.query import run_select

SHOWN = [name for name, stage in STAGES.items() if stage.query]


def test_the_summary_has_its_tables_and_queries_that_work(study, capsys):
    show_summary(study)
    printed = capsys.readouterr().out
    for title in (
        "Findings",
        "Sparse autoencoders",
        "Selected features",
        "Transport map",
        "Best fitted operator",
        "Causal check",
    ):
        assert title in printed
    words = " ".join(printed.split())
    for query in EXAMPLES:
        assert f'ato sql "{query}"' in words
        run_select(connect(), query)


def test_findings_stand_first_and_by_themselves_with_the_words_of_the_page(study, capsys):
    show_findings(study)
    alone = " ".join(capsys.readouterr().out.split())
    found = findings_of(rows(None, OF_COLLECTION, {"collection": study}))
    assert len(found) > 4
    assert all(" ".join(f"{finding.topic}: {finding.text}".split()) in alone for finding in found)
    show_summary(study)
    summary = " ".join(capsys.readouterr().out.split())
    assert summary.startswith(alone)


@pytest.mark.parametrize("width", [80, 200])
def test_the_summary_fits_the_terminal_and_breaks_no_word(width, study, monkeypatch, capsys):
    monkeypatch.setattr("flows.commands.show.WIDTH", width)
    show_summary(study)
    lines = capsys.readouterr().out.strip().splitlines()
    lines = [line for line in lines if not line.startswith("Tables: ")]  # a path of any length
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("n_pairs", [1, 3, 6, 9])
def test_every_pair_has_its_best_operator_shown_unless_they_are_more_than_six(n_pairs, monkeypatch):
    scores = {
        "r2_test": 0.5,
        "r2_test_identity": 0.4,
        "skill": 0.1,
        "skill_low": 0.0,
        "skill_high": 0.2,
        "r2_update": 0.2,
    }
    found = [
        {"source_layer": i, "target_layer": i + 1, "method": "ridge", "position_policy": "same", **scores}
        for i in range(n_pairs)
    ]
    monkeypatch.setattr("flows.commands.summary.operators.rows", lambda *_: found)
    (pairs, *_) = best_and_worst("collection").columns
    shown = [*range(n_pairs)] if n_pairs <= 6 else [0, 1, 2, 6, 7, 8]
    assert [*pairs.cells] == [f"{i} → {i + 1}" for i in shown]


def test_measures_at_a_rank_that_no_pair_was_evaluated_at_are_not_shown(monkeypatch):
    monkeypatch.setattr(
        "flows.commands.summary.operators.rows", lambda *_: [defaultdict(lambda: None, leap=1, n_pairs=2)]
    )
    (table,) = efficiency_tables("collection", 80)
    (measures, *_) = table.columns
    assert not [cell for cell in measures.cells if "64" in str(cell)]
    assert "efficiency at full rank" in [*measures.cells]


def test_what_each_stage_took_is_a_table_with_a_dash_for_what_nobody_noted(study, capsys):
    show_summary(study)
    _, table = capsys.readouterr().out.split("What each stage took")
    (saes,) = [line.split() for line in table.splitlines() if line.startswith("saes ")]
    assert saes[3:6] == ["s", "–", "–"]


def test_no_cell_of_what_stages_took_is_cut_in_80_characters(monkeypatch):
    took = {"n": 26, "seconds": 3000.0, "cpu": 3000.0, "memory": 2.4e9, "tokens": 21_318, "bytes": 140_000}
    monkeypatch.setattr("flows.commands.summary.study.rows", lambda *_: [{"stage": "entity_interventions"} | took])
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(stage_costs("collection"))
    printed = console.export_text()
    assert "50 min" in printed
    assert "…" not in printed


def test_a_folded_command_is_the_same_command():
    command = f'ato sql "{EXAMPLES[0]}"'
    folded = folded_command(command, 60)
    assert max(map(len, folded)) <= 60
    assert " ".join("\n".join(folded).split()) == command


def test_the_picture_needs_nothing_from_elsewhere(study, tmp_path):
    draw_summary(study, tmp_path / "summary.svg")
    picture = (tmp_path / "summary.svg").read_text(encoding="utf-8")
    assert "Transport map" in picture.replace("&#160;", " ")
    assert re.findall(r"url\(http|@font-face|<image", picture) == []


@pytest.mark.parametrize("stage", SHOWN)
def test_the_main_table_of_each_stage_is_that_of_its_collection(stage, study, capsys):
    show_stage(stage, study)
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.strip() == f"{stage}: {study}"
    (found,) = rows(None, f"select count(*) as n from ({STAGES[stage].query})", [study])
    assert sum(line.startswith("│") for line in lines) >= min(found["n"], MAX_SHOWN_ROWS)
