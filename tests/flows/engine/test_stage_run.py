"""What surrounds a stage: a slot of the accelerator, failures with names, events for those that wait."""

from contextlib import nullcontext

import pytest

from ato.errors import LayerError
from flows.engine import stage_run
from flows.engine.forms import DEMO
from flows.settings import Settings
from flows.stages import labels
from tests.warehouse.small_warehouse import STARTED
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse


def test_a_failure_names_stage_collection_and_cure():
    with pytest.raises(LayerError) as caught, stage_run.stage_run("operators", DEMO, "key-1"):
        raise LayerError("no layer 99", where="operators.leaps", cure="choose smaller leaps")
    assert str(caught.value) == "operators of key-1: no layer 99 (operators.leaps): choose smaller leaps"


def test_a_failure_that_nobody_foresaw_is_said_to_be_of_a_stage_and_a_collection(monkeypatch):
    said = []
    monkeypatch.setattr(stage_run, "say", lambda *words: said.append(" ".join(words)))
    with pytest.raises(ZeroDivisionError), stage_run.stage_run("operators", DEMO, "key-1"):
        raise ZeroDivisionError
    assert said[0].startswith("operators key-1 failed")


@pytest.mark.parametrize(
    ("device", "server", "slots"), [("cuda", "http://a", 1), ("cuda", "", 0), ("cpu", "http://a", 0)]
)
def test_work_on_an_accelerator_takes_a_slot_of_the_server_that_shares_it_out(device, server, slots, monkeypatch):
    taken = []
    monkeypatch.setenv("PREFECT_API_URL", server)
    monkeypatch.setattr("ato.numerics.devices.choose_device", lambda name: device)
    monkeypatch.setattr(stage_run, "concurrency", lambda name, strict: nullcontext(taken.append(name)))
    with stage_run.stage_run("collect", DEMO):
        assert taken == [stage_run.ACCELERATOR] * slots


@pytest.mark.parametrize(
    ("flow", "method", "there", "joint"),
    [
        ("operators", "ridge", "nothing", False),
        ("operators", "ridge", "features", True),
        ("operators", "rrr_features", "nothing", True),  # features were brought up to date before
        ("features", "ridge", "nothing", False),
        ("features", "ridge", "operators", True),
        ("features", "rrr_features", "operators", False),  # operators again, and say it then
        ("saes", "ridge", "operators", False),
    ],
)
def test_only_whichever_of_features_and_operators_comes_last_says_that_both_are_there(
    flow, method, there, joint, tmp_path, monkeypatch
):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    settings = Settings.model_validate({"operators": {"methods": [method]}})
    if there == "features":
        commit(Warehouse(), "features", "k", collection="c", settings={}, files=[], started_at=STARTED, seconds=1.0)
    if there == "operators":
        monkeypatch.setattr(stage_run, "pair_stages", lambda *_: [])  # no pair is missing
    expected = [f"ato.{flow}.complete", *(["ato.features-and-operators.complete"] if joint else [])]
    assert stage_run.events_after(flow, settings, "c") == expected


def test_an_event_is_about_a_collection_and_carries_the_settings(monkeypatch):
    sent: list[dict] = []
    monkeypatch.setattr(stage_run, "emit_event", lambda event, **rest: sent.append({"event": event, **rest}))
    stage_run.emit("ato.collect.complete", DEMO, "key-1")
    (found,) = sent
    assert found["event"] == "ato.collect.complete"
    assert found["resource"]["prefect.resource.id"] == "ato.collection.key-1"
    assert labels(DEMO).items() <= found["resource"].items()
    assert found["payload"] == {"collection": "key-1", "settings": DEMO.model_dump(mode="json")}
