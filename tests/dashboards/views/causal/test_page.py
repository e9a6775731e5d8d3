"""The causal page as a whole: its numbers, its address, and what it says without results."""

from flows.commands.show import show_summary
from tasks.report.causal import shown
from tasks.report.panels import open_scope
from tests.dashboards.opened_pages import check_numbers, open_page, panel_starting, panels, read_page
from tests.warehouse.small_warehouse import COLLECTION, collect_rows, commit_stage, row, write
from warehouse.storage.warehouse import Warehouse

PAIR = {"target_layer": 6, "source_layer": 5}


def test_each_number_equals_the_one_of_its_sql(study):
    for measure in ("delta_log_ppl", "kl"):
        found = check_numbers(read_page("causal", **PAIR, measure=measure, position_set="all"))
        assert len(found) >= 4
        assert all(panel.drawn for panel in found.values() if not panel.rows.is_empty() and not panel.informed)


def test_the_address_chooses_pair_positions_measure_and_intervention(study):
    app = open_page("causal", target_layer=4, source_layer=2, position_set="60,61", measure="kl", intervention="zero")
    assert panel_starting(app, "Cost of each").title.endswith("layer\u00a02\u00a0→\u00a04")
    assert panel_starting(app, "Cost of each").rows["position_set"].unique().to_list() == ["60,61"]
    assert app.selectbox(key="position_set").value == "60,61"
    assert app.session_state["measure"] == "kl"
    app = app.selectbox(key="target_layer").set_value(6).run()
    assert app.query_params["target_layer"] == "6"
    assert "\u00a0→\u00a06" in panel_starting(app, "Cost of each").title


def test_page_report_and_terminal_show_the_same_positions_and_method_at_first(empty, capsys):
    effects = [
        row(
            "causal_effects",
            evaluation=f"causal-{method}-1",
            **{"source_layer": 1, "target_layer": 2, "leap": 1, "method": method, "n_sequences": 10, "n_documents": 5},
            **{"intervention": name, "positions": positions, "log_ppl": 3.0, "delta_log_ppl": 0.1},
            **{"delta_log_ppl_low": 0.0, "delta_log_ppl_high": 0.2},
        )
        for method in ("mean", "ridge")
        for positions in ("5", "all", "60,61")
        for name in ("transport", "identity")
    ]
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    commit_stage(warehouse, "causal", write(warehouse, {"causal_effects": effects}))
    assert shown(open_scope(warehouse, COLLECTION)) == ("5", "ridge")
    app = open_page("causal")
    assert (app.selectbox(key="position_set").value, app.selectbox(key="method").value) == ("5", "ridge")
    show_summary(COLLECTION)
    assert "when residuals at position 5 are replaced" in " ".join(capsys.readouterr().out.split())


def test_without_causal_results_the_page_says_how_to_get_them(empty):
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    app = open_page("causal")
    assert "ato run causal" in app.info[0].value
    assert not panels(app)
