"""Every flow's estimate: an artifact and a line, and nothing started; the form's fields change the settings of a run."""

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.collect import collect
from flows.settings import Settings, load_settings
from flows.stages import FLOWS
from flows.study_flow import study_flow
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_an_estimate_is_an_artifact_of_the_run_and_leaves_no_stage_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    state = collect(load_settings("demo"), estimate=True, common={"collect_n_tokens": 5000}, return_state=True)
    assert state.is_completed()
    assert state.message.startswith("Only estimated")
    assert not (tmp_path / "warehouse").exists()
    assert not Warehouse().storage.names("stage_runs")
    printed = capsys.readouterr().out
    assert "collect with smollm2-135m" in printed
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        (artifact,) = client.read_artifacts(artifact_filter=of_run)
    assert run.name.startswith("estimate of collect ")
    assert artifact.key == "estimate-collect"
    assert '"stage": "collect"' in artifact.data
    assert "Nothing was started" in run.state.message


def test_the_fields_of_the_form_reach_the_flow_and_a_name_that_was_typed_stays(monkeypatch):
    got = []

    @study_flow("collect")
    def tried(settings: Settings, collection: str | None = None) -> None:
        """Notes what it gets."""
        got.append((settings, collection))

    tried(load_settings("demo"), "key", common={"saes_k": 3}, stages={"collect": {"n_tokens": 7}, "saes": None})
    ((settings, collection),) = got
    assert (settings.saes.k, settings.collect.n_tokens, collection) == (3, 7, "key")
    got.clear()
    tried(load_settings("demo"), profile="gpt2")
    assert got == [(load_settings("gpt2"), None)]


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_takes_the_fields_of_the_form(name):
    properties = FLOWS[name].load().parameters.properties
    assert {"settings", "profile", "common", "stages", "estimate"} <= set(properties)
