"""The report's section on SAE studies: planted numbers in sentences with their spread, and no section without a study."""

import pytest

from tasks.report.drawing import png, svg
from tasks.report.opening import Opening
from tasks.report.page import page
from tasks.report.panels import open_scope
from tasks.report.sae_study import panels
from tasks.settings import ReportSettings
from tests.tasks.report.flat_report import report_panels
from tests.tasks.reported_study import COLLECTION, build_study
from tests.warehouse.sae_study_rows import (
    SAES,
    TRAINED,
    Planted,
    commit_study,
    membership,
    quality,
    study_rows,
    write_sae_study,
)
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import run_select
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of the reported study with planted SAEs beside it."""
    root = tmp_path_factory.mktemp("sae_study")
    write_sae_study(build_study(root))
    return root


@pytest.fixture(scope="module")
def shown(root):
    """The panels by key."""
    return {panel.key: panel for panel in panels(open_scope(Warehouse(root), COLLECTION))}


def test_findings_are_told_with_seeds_spread_and_baseline(shown):
    told = shown["sae-findings"].body
    assert (
        "Layer 4, k = 4, 12 features: best FVU has batchtopk with 0.250 (2 seeds, sd 0.0071, L0 4.0). topk has 0.300: a "
        "difference of -0.0500, beyond the spread over seeds of 0.0100. It beats the best baseline, pca, which has 0.450."
    ) in told
    assert "best agreement between seeds has topk with 0.800" in told
    assert (
        "k = 8, 12 features: best FVU has batchtopk with 0.150 (1 seed, L0 8.0). topk has 0.200: a difference of"
        in told
    )
    assert "one seed cannot say whether it is more than seeds make" in told
    assert shown["sae-findings"].n == "1 to 2 seeds of a kind"


def test_a_difference_within_the_spread_is_not_a_finding_and_unequal_l0_is_said(tmp_path):
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    some = [Planted(name, 4, seed) for name in ("topk", "jumprelu") for seed in (0, 1)]
    tables = {name: study_rows("s")[name] for name in ("studied_saes",)}
    metrics = [metric for planted in some for metric in quality(planted)]
    for metric in metrics:  # jumprelu far better in KL, but with more active features
        if metric["metric"] == "kl" and metric["sae"].startswith("jumprelu"):
            metric["value"] = 0.01
    commit_study(warehouse, "s", tables | {"sae_studies": membership("s", some), "sae_quality": metrics})
    told = {panel.key: panel for panel in panels(open_scope(warehouse, COLLECTION))}["sae-findings"].body
    assert "jumprelu has 0.304: a difference of -0.0040, within the spread over seeds of 0.0100: not a finding." in told
    assert "beyond the spread over seeds" in told
    assert "but at unequal L0" in told
    assert "No baseline was judged." in told


def test_sites_and_transcoders_are_told_and_drawn_apart(tmp_path):
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    places = {
        TRAINED[0]: ("resid_post", None, False),
        TRAINED[1]: ("mlp_in", None, False),
        TRAINED[2]: ("mlp_in", "mlp_out", False),
        TRAINED[3]: ("mlp_in", "mlp_out", True),
        Planted("pca", 4, None, source="baseline"): ("mlp_in", "mlp_out", True),
    }
    known = {row["sae"]: row for row in study_rows("s")["studied_saes"]}
    named = ("site", "target_site", "has_skip")
    saes = [known[some.sae] | dict(zip(named, place)) for some, place in places.items()]
    metrics = [metric for some in places for metric in quality(some)]
    for metric in metrics:  # a linear map has no features
        metric["value"] = 0.0 if (metric["sae"][:3], metric["metric"]) == ("pca", "l0") else metric["value"]
    commit_study(
        warehouse, "s", {"studied_saes": saes, "sae_studies": membership("s", list(places)), "sae_quality": metrics}
    )
    shown = {panel.key: panel for panel in panels(open_scope(warehouse, COLLECTION))}
    told = shown["sae-findings"].body
    for words in (
        "Layer 4, k = 4",
        "Layer 4, mlp_in, k = 4",
        "Layer 4, transcoders mlp_in to mlp_out, k",
        "Layer 4, transcoders mlp_in to mlp_out with skip connection, k",
    ):
        assert words in told
    frontier = shown["sae-frontier"]
    drawn = svg(frontier.key, frontier.draw, frontier.rows)
    for place in ("layer 4", "layer 4, mlp_in", "layer 4, transcoders mlp_in to mlp_out"):
        assert f"{place}: lowest FVU" in frontier.alt
        assert f">{place}<" in drawn


def test_the_frontier_and_the_curve_of_emergence_are_drawn_and_told(shown):
    frontier, emergence = shown["sae-frontier"], shown["sae-emergence"]
    assert len(frontier.rows) == len(SAES)
    assert "layer 4: lowest FVU 0.15 [0.13, 0.17] at L0 8.0, batchtopk k=8 seed 0" in frontier.alt
    assert (
        "topk k=4 seed 0, layer 4: half of 12 features emerged by 2,500 tokens; mean drift 0.09, 2 split, 1 died"
        in emergence.caption
    )
    assert "changed by -0.50 nats" in emergence.caption
    for panel in (frontier, emergence):
        assert "loss recovered" in svg(panel.key, panel.draw, panel.rows) or panel is emergence
        assert png(panel.key, panel.draw, panel.rows).startswith(b"\x89PNG")


def test_the_table_has_every_sae_with_dashes_where_nothing_was_measured(shown):
    body = shown["sae-comparison"].body
    assert body.count("<tr>") == 1 + len(SAES)
    assert f"<td>{TRAINED[0].label}</td>" in body
    assert "<td>0.245 [0.225, 0.265]</td>" in body
    assert "<td>–</td>" in body


def test_the_sql_of_each_panel_runs_as_it_stands(root, shown):
    scope, connection = open_scope(Warehouse(root), COLLECTION), connect(root)
    for panel in shown.values():
        assert run_select(connection, panel.sql).fetchall()
        assert scope.ask(panel.sql) == panel.rows


def test_the_section_is_on_the_page_with_its_pictures(shown):
    text = page(Opening("title", "", "", [], []), {"part": list(shown.values())})
    assert "No data" not in text
    assert text.count("<svg") == 2


def test_without_a_study_there_is_no_section_and_of_an_unfinished_one_commands_are_named(tmp_path):
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    assert panels(open_scope(warehouse, COLLECTION)) == []
    commit_study(warehouse, "s", {"sae_studies": membership("s", TRAINED[:2])})
    found = panels(open_scope(warehouse, COLLECTION))
    assert all("ato run sae_study" in panel.absent for panel in found)
    of_report = report_panels(open_scope(warehouse, COLLECTION), ReportSettings())
    assert of_report[-len(found) :] == found
