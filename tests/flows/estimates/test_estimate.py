"""The estimate: what the flows run, at the rates of the machine, and how people are told."""

import importlib
from contextlib import nullcontext
from dataclasses import replace

import pytest
from prefect import Task

from ato.errors import ModelError
from ato.models.shapes import KNOWN
from flows.cli import app
from flows.estimates import estimate as module
from flows.estimates.estimate import START, START_SECONDS, estimate, show_estimate
from flows.estimates.machine_rates import MachineRates
from flows.settings import load_settings
from flows.stages import FLOWS, STAGES

SLOW = MachineRates(*[1e9] * 7)


def test_the_whole_is_the_sum_of_its_stages_and_takes_the_memory_of_the_largest():
    found = estimate(load_settings("demo"), rates=SLOW)
    stages = found.by_stage.values()
    assert found.seconds == pytest.approx(sum(stage.seconds for stage in stages))
    assert found.disk_bytes == sum(stage.disk_bytes for stage in stages)
    assert found.memory_bytes == max(stage.memory_bytes for stage in stages)


def test_a_machine_four_times_as_fast_takes_a_quarter_of_what_depends_on_its_speed():
    settings = load_settings("demo", ["operators.register_operators=false"])
    slow, fast = (estimate(settings, rates=MachineRates(*[rate] * 7)).seconds for rate in (1e9, 4e9))
    fixed = START_SECONDS + sum(
        stage.cost.fixed_seconds for stage in STAGES.values() if stage.cost and not stage.on_demand
    )
    assert slow - fixed == pytest.approx(4 * (fast - fixed))


@pytest.mark.parametrize("rate", vars(SLOW))
def test_every_rate_that_is_measured_matters(rate):
    settings = load_settings("demo")
    assert estimate(settings, rates=replace(SLOW, **{rate: 2e9})).seconds < estimate(settings, rates=SLOW).seconds


def test_two_devices_take_half_the_passes_of_the_collection_each_and_the_rest_stays():
    one, two = (estimate(load_settings("demo", [f"model.device={name}"]), rates=SLOW) for name in ("cpu", '"cpu,cpu"'))
    for stage, work in ((stage, found.work) for stage, found in one.by_stage.items()):
        share = 2 if stage == "collect" else 1
        assert two.by_stage[stage].work == replace(work, forward=work.forward / share)


def test_people_read_one_line_and_none_of_a_model_that_may_not_exist(monkeypatch):
    lines = []
    monkeypatch.setattr("tasks.engine.progress.say", lambda stage, message: lines.append(f"{stage} {message}"))
    monkeypatch.setattr(module, "measure_rates", lambda *_: SLOW)
    show_estimate(load_settings("gemma-2-2b"))
    show_estimate(load_settings("demo", ["model.name=nobody/nothing"]))
    assert len(lines) == 1
    assert "of memory" in lines[0]
    assert "GB of disk" in lines[0]


def test_an_estimate_that_is_asked_for_is_a_table_and_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setattr(module, "measure_rates", lambda *_: SLOW)
    app(["run", "saes", "--profile", "gpt2", "--estimate"], standalone_mode=False)
    printed = capsys.readouterr().out
    rows = [line.strip("│┃ ").split()[0] for line in printed.splitlines() if line.startswith(("│", "┃"))]
    assert rows == ["stage", "start", "collect", "saes", "all"]
    assert "TFLOP" in printed
    assert list(tmp_path.iterdir()) == []


def test_no_estimate_of_an_unknown_model_is_an_error():
    with pytest.raises(ModelError, match="unknown until the model is downloaded"):
        app(["run", "saes", "--set", "model.name=nobody/nothing", "--estimate"], standalone_mode=False)


def test_seconds_are_the_fixed_ones_and_the_work_at_the_measured_rates():
    found = estimate(load_settings("demo"), "collect", rates=SLOW).by_stage
    assert list(found) == [START, "collect"]
    cost, work = STAGES["collect"].cost, found["collect"].work
    expected = cost.fixed_seconds + cost.slowdown * (work.flops + work.disk_bytes + work.loaded + work.moved) / 1e9
    assert found["collect"].seconds == pytest.approx(expected)


def test_the_model_has_to_fit_into_memory():
    found = estimate(load_settings("gemma-2-2b"), rates=SLOW)
    assert found.memory_bytes > 4 * KNOWN["google/gemma-2-2b"].n_parameters


@pytest.mark.parametrize("method", ["ridge", "rrr_features"])
@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_estimated_as_the_stages_that_it_runs(name, method, monkeypatch):
    """The flows themselves say which, run without Prefect and without the work of their tasks."""
    run: list[str] = []
    for spec in FLOWS.values():
        monkeypatch.setattr(f"flows.{spec.name}.{spec.name}", spec.load().fn)
    for stage in STAGES.values():
        shell = importlib.import_module(f"flows.{stage.name}")
        monkeypatch.setattr(shell, "stage_run", lambda stage, *_: nullcontext(run.append(stage)))
        for task in [value for value in vars(shell).values() if isinstance(value, Task)]:
            monkeypatch.setattr(shell, task.fn.__name__, lambda *_: ["key"])
    ends = [f"flows.{flow}.conclude" for flow in FLOWS]
    for silent in (*ends, "flows.report.show_link", "flows.pipeline.show_results", "flows.pipeline.rows"):
        monkeypatch.setattr(silent, lambda *_: None)
    monkeypatch.setattr("flows.watch._notes", lambda *_: {})  # nothing was compared, so there is nothing to tell
    settings = load_settings("demo", [f"operators.methods=[ridge, {method}]", "compare.models=[smollm2-135m]"])
    FLOWS[name].load()(settings)
    assert [stage for stage in run if STAGES[stage].cost] == list(estimate(settings, name, rates=SLOW).by_stage)[1:]
