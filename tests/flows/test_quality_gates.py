"""Quality gates: failed expectations stop the chain, keep data out of the marts, are shown, and cleared by a fixed run."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ato.errors import QualityError
from flows.collect import collect
from flows.engine import stage_run
from flows.operators import operators as fit_alone
from flows.pipeline import pipeline
from tasks.operators import task as operators
from tests.flows.forked_stages import SMALL
from tests.flows.tiny_study import tiny_settings
from warehouse.catalog.catalog import rows
from warehouse.quality import checks
from warehouse.storage.warehouse import Warehouse


def shown(key: str, read: Callable[[str], Any] = json.loads) -> tuple[Any, str]:
    """What an artifact shows, a table's rows if not said otherwise, and its description."""
    from prefect.artifacts import Artifact

    found = Artifact.get(key)
    return read(found.data), found.description


@pytest.mark.slow
def test_a_failed_gate_stops_the_chain_and_a_fixed_run_clears_it(prefect_server, tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "data" / "warehouse"))
    settings = tiny_settings(tmp_path, **SMALL)
    real = operators.operator_row

    def too_good(*args, **options):
        return real(*args, **options) | {"r2_test": 1.5}

    monkeypatch.setattr(operators, "operator_row", too_good)
    with pytest.raises(QualityError, match=r"operators\.r2_test.*of 4 rows fail"):
        pipeline(settings)
    assert rows(None, "select count(*) as n from operators") == [{"n": 0}]
    assert rows(None, "select count(*) as n from transport_map") == [{"n": 0}]
    assert rows(None, "select count(*) as n from feature_stats")[0]["n"] > 0  # what passed before is there
    found = rows(None, "select stage, quality, count(*) as n from stage_runs group by all order by stage")
    assert [row for row in found if row["quality"] == "failed"] == [{"stage": "operators", "quality": "failed", "n": 2}]
    assert not {"evaluate", "causal"} & {row["stage"] for row in found}
    table, description = shown("quality-operators")
    assert (table[0]["success"], table[0]["column_name"], table[-1]["success"]) == (False, "r2_test", True)
    assert "checks failed" in description
    assert checks.failures(checks.check_all(Warehouse()))

    told: list[str] = []
    monkeypatch.setattr(stage_run, "emit", lambda event, *_: told.append(event))
    monkeypatch.setenv("PREFECT_API_URL", "http://a-server-with-triggers/api")  # as in a run that a worker started
    with pytest.raises(QualityError, match=r"operators of .*: .*operators\.r2_test"):
        fit_alone(settings)
    assert told == [], "no event, so nothing follows"
    monkeypatch.setattr(operators, "operator_row", real)
    collection = collect(settings)
    told.clear()
    fit_alone(settings, collection)
    assert told == ["ato.operators.complete", stage_run.BOTH], "the fixed run goes on with the chain"
    collection = pipeline(settings)
    assert rows(None, "select distinct quality from stage_runs where collection = ?", [collection]) == [
        {"quality": "passed"}
    ]
    assert rows(None, "select count(*) as n from operators") == [{"n": 4}]
    assert rows(None, "select count(*) as n from transport_map")[0]["n"] > 0
    assert rows(None, "select count(*) as n from quality_results where not success") == [{"n": 0}]
    table, description = shown("quality-operators")
    assert all(row["success"] for row in table)
    assert not checks.failures(checks.check_all(Warehouse()))
    summary, of = shown("pipeline", read=str)
    assert of == f"Results of {collection}"
    assert "| operators | 2 |" in summary
    assert "| failed |" not in summary
    assert f"reports/{collection}/report.html" in summary
