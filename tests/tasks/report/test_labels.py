"""The report's section on labels: planted scores in sentences beside controls and neurons, and no section without labels."""

import pytest

from ato.autointerp.scores import balanced_accuracy
from tasks.report.drawing import png, svg
from tasks.report.labels import _against, _given_away, panels
from tasks.report.opening import Opening
from tasks.report.page import page
from tasks.report.panels import open_scope
from tasks.settings import ReportSettings
from tests.tasks.report.flat_report import report_panels
from tests.tasks.reported_study import COLLECTION
from tests.warehouse.label_rows import (
    DESCRIPTIONS,
    FEATURES,
    JUDGES,
    RIGHT,
    UNDESCRIBED,
    N,
    labelling_rows,
    write_labelling,
)
from tests.warehouse.neuron_rows import write_neurons
from tests.warehouse.small_warehouse import SAE, collect_rows, commit_stage, write
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import run_select
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of a collection with planted labels of an SAE and of neurons."""
    root = tmp_path_factory.mktemp("labels")
    warehouse = Warehouse(root)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    write_labelling(warehouse)
    write_neurons(warehouse)
    return root


@pytest.fixture(scope="module")
def shown(root):
    """The panels by key."""
    return {panel.key: panel for panel in panels(open_scope(Warehouse(root), COLLECTION))}


def test_findings_are_told_with_n_interval_control_and_neurons(shown):
    (first, *_) = shown["label-findings"].rows
    told = shown["label-findings"].body
    mean = sum(RIGHT[f] / N for f in RIGHT) / len(RIGHT)
    assert first["score"] == pytest.approx(mean)
    assert (
        f"Layer 4, {SAE}, judge overlap: detection {mean:.2f} [{first['score_low']:.2f}, {first['score_high']:.2f}] over "
        in told
    )
    assert (
        f"over {len(FEATURES) - 1} of {len(FEATURES)} features and 320 trials (chance 0.50); not told apart from another "
        "feature&#x27;s description, 0.50" in told
    ), "four features are few"
    assert "not told apart from 4 neurons" in told, "they are planted with the same answers"
    assert f"2 of {len(FEATURES)} labels fail." in told
    assert "intruder 0.70" in told
    assert "(chance 0.20)" in told
    assert "neurons-L04, judge" not in told


def test_a_difference_within_the_intervals_is_none_and_a_control_above_chance_is_a_caution():
    row = {"score_low": 0.6, "score_high": 0.8, "x_low": 0.5, "x_high": 0.7}
    assert _against(row, "x") == "not told apart from"
    assert _against(row | {"x_high": 0.55}, "x") == "above"
    assert _against(row | {"x_low": 0.81}, "x") == "below"
    assert _against(row | {"x_low": None}, "x") == "one feature cannot say whether more than"
    assert "gives the answers away" in _given_away({"shuffled_low": 0.51, "chance": 0.5})
    assert _given_away({"shuffled_low": 0.5, "chance": 0.5}) == _given_away({"shuffled_low": None, "chance": 0.5}) == ""


def test_scores_by_tier_are_drawn_beside_controls(shown):
    panel = shown["label-tiers"]
    assert "layer 4, overlap, near miss: 0.79" in panel.alt
    drawn = svg(panel.key, panel.draw, panel.rows)
    for words in ("near miss", "another's description", "neurons", "layer 4, judge tiny-model"):
        assert words.replace("'", "&#x27;") in drawn or words in drawn
    assert png(panel.key, panel.draw, panel.rows).startswith(b"\x89PNG")


def test_the_table_has_the_first_labels_with_their_intervals_and_verdicts(shown):
    body = shown["label-table"].body
    assert body.count("<tr>") == 1 + len(FEATURES)
    assert all(text in body for text in DESCRIPTIONS.values())
    assert "none: no example: it fires in no train document" in body
    value = balanced_accuracy(
        [True] * N + [False] * 3 * N, [i < 18 for i in range(N)] + [i >= 18 for i in range(N)] * 3
    ).value
    assert f"<td>{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]</td>" in body
    assert body.count("<td>fails</td>") == 2
    assert f"L4/{UNDESCRIBED}" in body
    assert f"not the best, of judge {JUDGES[0]}" in shown["label-table"].caption


def test_the_sql_of_each_panel_runs_as_it_stands(root, shown):
    scope, connection = open_scope(Warehouse(root), COLLECTION), connect(root)
    for panel in shown.values():
        assert run_select(connection, panel.sql).fetchall()
        assert scope.ask(panel.sql) == panel.rows


def test_the_section_is_on_the_page_with_its_picture(root, shown):
    text = page(Opening("title", "", "", [], []), {"part": list(shown.values())})
    assert "No data" not in text
    assert text.count("<svg") == 2
    of_report = report_panels(open_scope(Warehouse(root), COLLECTION), ReportSettings())
    assert [panel.key for panel in of_report[-len(shown) :]] == list(shown)


def test_without_labels_there_is_no_section_and_without_scores_commands_are_named(tmp_path):
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    assert panels(open_scope(warehouse, COLLECTION)) == []
    rows = labelling_rows("e", dict.fromkeys(JUDGES, "none"))["labelled_features"]
    commit_stage(warehouse, "features", write(warehouse, {"labelled_features": rows}), key="e")
    found = panels(open_scope(warehouse, COLLECTION))
    assert len(found) == 3
    assert all("ato run label" in panel.absent for panel in found)
