"""Operators that are made of Jacobians, from the flow that asks for them to causal checks and files, on a tiny model."""

import pytest
from typer.testing import CliRunner

from ato.jacobians import load_lens
from flows.causal import causal
from flows.cli import app
from tests.flows.tiny_study import tiny_settings
from warehouse.catalog.catalog import rows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def test_a_flow_that_needs_jacobians_measures_them_first_and_intervenes_with_them(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    own = {"source_layers": [1], "leaps": [1], "methods": ["ridge", "jacobian"], "train_fractions": []}
    settings = tiny_settings(
        tmp_path,
        collect={"n_tokens": 6_000},
        saes={"layers": [2], "n_tokens": 1_024},
        operators=own | {"permutation_null": False},
        jacobians={"n_tokens": 1_500, "probes": 8, "documents_per_part": 3},
        causal={"method": "jacobian", "positions": ["5"], "interventions": ["transport", "mean"], "n_features": 0},
    )
    causal(settings)
    order = "select stage from stage_runs group by stage order by min(started_at)"
    stages = [row["stage"] for row in rows(None, order)]
    assert stages.index("jacobians") < stages.index("operators") < stages.index("causal")
    (operator,) = rows(None, "from operators where method = 'jacobian'")
    assert operator["registry_uri"], "it is registered as operators that were fitted are"
    effects = rows(None, "from causal_effects where intervention = 'transport'")
    assert {row["method"] for row in effects} == {"jacobian"}
    assert all(row["delta_log_ppl"] is not None for row in effects)
    shown = CliRunner().invoke(app, ["show", "jacobians"])
    assert shown.exit_code == 0, shown.output
    assert CliRunner().invoke(app, ["check"]).exit_code == 0
    done = CliRunner().invoke(app, ["export", "jacobians", "--to", str(tmp_path / "lens")])
    assert done.exit_code == 0, done.output
    assert load_lens(tmp_path / "lens" / "jacobian_lens_2.pt").d_model == 16
