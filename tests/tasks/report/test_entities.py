"""The report's section on entities: planted numbers in sentences, and no section where nothing was asked."""

import pytest

from tasks.report.entities import panels
from tasks.report.panels import open_scope
from tasks.report.task import write_report
from tasks.settings import ReportSettings
from tests.tasks.reported_study import COLLECTION, N_FEATURES, PAIRS, SAES, build_study
from tests.warehouse.entity_rows import entity_rows, write_entities
from tests.warehouse.small_warehouse import commit_stage, write
from warehouse.catalog.catalog import connect
from warehouse.catalog.query import run_select
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of the reported study with planted entities."""
    root = tmp_path_factory.mktemp("entities")
    write_entities(build_study(root), SAES, N_FEATURES, PAIRS)
    return root


@pytest.fixture(scope="module")
def shown(root):
    """The panels by key."""
    return {panel.key: panel for panel in panels(open_scope_of(root))}


def open_scope_of(root):
    """What the report shows of the study."""
    return open_scope(Warehouse(root), COLLECTION)


def test_counts_best_features_interventions_and_transport_are_told_in_sentences(shown):
    assert list(shown) == [
        "entity-knowledge",
        "entity-latents",
        "entity-classifiers",
        "entity-interventions",
        "entity-transport",
    ]
    assert "9 known (100% of answers right, 0% withheld" in shown["entity-knowledge"].body
    best = shown["entity-latents"].body
    assert "the best feature for known is 0 at layer 6, with held-out AUROC 0.96 [0.93, 0.99]" in best
    assert "q 0.020, p 0.010" in best
    assert (
        "The best baseline, a linear probe at layer 6, has AUROC 0.90 [0.85, 0.95]. It is better than every baseline."
        in best
    )
    assert (
        "the number of tokens of the name alone tells the classes apart; they are not matched on token count. Length alone does."
        in best
    )
    effects = shown["entity-interventions"].body
    steered = "On 6 known entities steering latent 1 of layer 6 (unknown) at entity_last with strength 2 changes the share of "
    assert (
        f"{steered}right answers by -0.500 [-0.550, -0.450] (beyond controls 0.010 [-0.070, 0.090], p 0.048)" in effects
    )
    assert "ablating latent 0 of layer 6 (known)" in effects
    assert "Caution" not in effects
    told = shown["entity-classifiers"].body
    assert (
        "the best feature, 0 at layer 6, has AUROC 0.90 [0.85, 0.95], F1 0.75 (0.67) and calibration error 0.05" in told
    )
    assert effects.count("This is damage, not control.") == 2
    carried = shown["entity-transport"].body
    assert "from layer 5 carried (r2 0.80 [0.75, 0.85], identity 0.40 [0.35, 0.45]; on ordinary text" in carried
    assert "from layer 1 computed" in carried


def test_the_sql_of_each_panel_runs_as_it_stands(root, shown):
    scope = open_scope_of(root)
    for panel in shown.values():
        assert run_select(connect(root), panel.sql).fetchall()
        assert scope.ask(panel.sql) == panel.rows


def test_the_section_is_on_the_page(root, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    with open(write_report.fn(COLLECTION, ReportSettings(png=False)), encoding="utf-8") as page:
        text = page.read()
    assert '<section id="entity-latents">' in text
    assert "No data" not in text.partition('<section id="entity-knowledge">')[2]


def test_what_was_not_reached_names_its_command_and_without_entities_there_is_no_section(tmp_path):
    warehouse = build_study(tmp_path)
    assert panels(open_scope(warehouse, COLLECTION)) == []
    (sets, *_) = entity_rows(SAES, N_FEATURES, PAIRS).values()
    commit_stage(warehouse, "causal", write(warehouse, sets, "entities"), key="entity_set-1")
    found = panels(open_scope(warehouse, COLLECTION))
    assert [panel.absent != "" for panel in found] == [True] * 5
    assert all("ato run entities" in panel.absent for panel in found)
