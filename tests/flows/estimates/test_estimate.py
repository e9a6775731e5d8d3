"""The estimate: sizes that are those of a real run, shapes that are those of real models, what people are told."""

import importlib
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ato.errors import ModelError
from ato.io import embedded
from ato.models.shapes import KNOWN, ModelShape, model_shape
from ato.operators.fitting import fit_operator
from benchmarks import estimate as checked
from flows.cli import app
from flows.estimates import estimate as module
from flows.estimates import machine_rates
from flows.estimates.estimate import FIXED_SECONDS, SLOWDOWN, STAGES_OF, estimate, show_estimate, stages_of
from flows.estimates.machine_rates import MachineRates, disk_rate, measure_rates, product_rate
from flows.estimates.sizes import activation_bytes, kept_tokens, moments_bytes, n_groups
from flows.estimates.stage_costs import stage_work
from flows.settings import Settings, load_settings
from tests.flows.tiny_study import tiny_settings, write_corpus
from tests.tiny_models import save_tiny_model

SLOW = MachineRates(*[1e9] * 7)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_settings(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gemma2"])
def test_the_shape_of_a_folder_is_that_of_the_model_in_it(family, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = save_tiny_model(tmp_path, family, n_layers=3, d_model=16)
    model = AutoModelForCausalLM.from_pretrained(folder)
    shape = model_shape(str(folder))
    assert (shape.n_layers, shape.d_model, shape.vocabulary) == (3, 16, model.config.vocab_size)
    assert shape.n_parameters == sum(p.numel() for p in model.parameters())
    assert shape.tied == (model.get_output_embeddings().weight is model.get_input_embeddings().weight)


def test_a_folder_without_weights_is_counted_by_the_usual_proportions(tmp_path):
    (tmp_path / "config.json").write_text('{"n_layer": 12, "n_embd": 768, "vocab_size": 50257}', encoding="utf-8")
    assert model_shape(str(tmp_path)).n_parameters == pytest.approx(KNOWN["gpt2"].n_parameters, rel=0.02)


def test_a_damaged_configuration_names_the_file(tmp_path):
    (tmp_path / "config.json").write_text('{"n_layer": 12}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json"):
        model_shape(str(tmp_path))


def test_the_known_shape_of_the_embedded_model_is_that_of_its_file():
    assert model_shape(str(embedded.model_file())) == KNOWN[embedded.MODEL_NAME]


def test_a_forward_pass_counts_two_operations_a_weight():
    shape = ModelShape(n_layers=4, d_model=10, vocabulary=100, n_parameters=5_000, tied=False)
    assert shape.n_block_parameters == (5_000 - 2 * 1_000) // 4
    assert shape.forward_flops(4, logits=True) == 2 * (3_000 + 1_000)
    assert shape.forward_flops(1) == 1_500


@pytest.mark.slow
def test_activations_and_moments_of_a_real_run_take_the_disk_that_was_said(tmp_path, monkeypatch):
    from tasks.collect.task import collect_residuals
    from warehouse.catalog.catalog import rows

    d = 64  # wide enough for matrices to outweigh the names in their file
    save_tiny_model(tmp_path / "model", n_layers=5, d_model=d)
    write_corpus(tmp_path / "corpus.jsonl")
    tiny = tiny_settings(tmp_path)
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    collect_residuals.fn(tiny.model, tiny.collecting, tiny.layers, tiny.operators)
    found = rows(
        None,
        "select stage, sum(f.bytes)::bigint as n from (select stage, unnest(files) as f from stage_runs) "
        "where f.table_name in ('activations', 'artifacts') group by stage",
    )
    sizes = {row["stage"]: row["n"] for row in found}
    assert sizes["collect"] == pytest.approx(activation_bytes(tiny, d), rel=0.2)
    assert sizes["moments"] == pytest.approx(moments_bytes(tiny, d), rel=0.2)


def test_operators_take_a_float64_matrix_each(tiny, tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    operator = fit_operator(rng.normal(size=(300, 64)), rng.normal(size=(300, 64)), alphas=[1.0], cv_folds=2).operator
    operator.save(tmp_path / "operator.safetensors")
    own = tiny.model_copy(update={"operators": tiny.operators.model_copy(update={"register_operators": False})})
    disk = stage_work(own, ModelShape(5, 64, 100, 10**6), "operators").disk_bytes
    files = len(tiny.operators.pairs) * len(tiny.operators.methods)
    assert disk == pytest.approx(files * (tmp_path / "operator.safetensors").stat().st_size, rel=0.2)


def test_disk_and_memory_of_the_study_are_worked_out_by_hand():
    settings = load_settings("gemma-2-2b")
    # 250,000 tokens at layers 0 to 20, 2304 float32 numbers and 20 bytes of keys each: 48.5 GB.
    assert activation_bytes(settings, 2304) == 250_000 * 21 * (4 * 2304 + 20)
    # 21 layers and 20 pairs in 5 folds, val, test and the 4 pieces that 10, 25, 50 and 75 % cut from folds.
    assert n_groups(settings) == 11
    # Permutation null: 20 sources, 2 targets and 20 pairs once.
    assert moments_bytes(settings, 2304) == 8 * 2304**2 * (41 * 11 + 42)
    assert estimate(settings, rates=SLOW).memory_bytes > 4 * KNOWN["google/gemma-2-2b"].n_parameters


def test_moments_of_other_positions_and_without_chance():
    own = {"source_layers": [0, 1], "leaps": [1, 2], "train_fractions": [], "permutation_null": False}
    groups = 7  # five folds, val and test
    # Layers 0 to 3 and four pairs; sources 0, 1 and targets 1, 2, 3 apart; one kind of source row a pair.
    for policy, products in (("same", 4 + 4), ("previous", 2 + 3 + 4), ("attended:2", 4 + 3 + 4)):
        settings = Settings(operators=own | {"position_policy": policy})
        assert moments_bytes(settings, 10) == 800 * products * groups
    assert moments_bytes(Settings(operators=own | {"permutation_null": True}), 10) == 800 * (8 * groups + 2 + 3 + 4)


def test_a_cut_between_folds_divides_none():
    settings = Settings(operators={"train_fractions": [0.2, 0.4, 1.0]})
    assert n_groups(settings) == settings.collect.n_folds + 2


def test_dropping_first_positions_and_storing_nothing_saves_their_bytes():
    kept = Settings(collect={"n_tokens": 1280, "seq_len": 128})
    assert kept_tokens(kept) == 1270
    assert kept_tokens(Settings(collect={"n_tokens": 1280, "seq_len": 128, "skip_first": False})) == 1280
    assert activation_bytes(Settings(collect={"store_activations": False}), 576) == 0


def test_the_whole_is_the_sum_of_its_stages_and_takes_the_memory_of_the_largest():
    found = estimate(load_settings("demo"), rates=SLOW)
    stages = found.by_stage.values()
    assert found.seconds == pytest.approx(sum(stage.seconds for stage in stages))
    assert found.disk_bytes == sum(stage.disk_bytes for stage in stages)
    assert found.memory_bytes == max(stage.memory_bytes for stage in stages)


def test_a_machine_four_times_as_fast_takes_a_quarter_of_what_depends_on_its_speed():
    settings = load_settings("demo", ["operators.register_operators=false"])
    slow, fast = (estimate(settings, rates=MachineRates(*[rate] * 7)).seconds for rate in (1e9, 4e9))
    fixed = sum(FIXED_SECONDS.values())
    assert slow - fixed == pytest.approx(4 * (fast - fixed))


@pytest.mark.parametrize("rate", vars(SLOW))
def test_every_rate_that_is_measured_matters(rate):
    settings = load_settings("demo")
    assert estimate(settings, rates=replace(SLOW, **{rate: 2e9})).seconds < estimate(settings, rates=SLOW).seconds


def test_the_forward_passes_of_the_collection_are_counted_by_hand():
    settings, shape = load_settings("demo"), KNOWN[embedded.MODEL_NAME]
    work = stage_work(settings, shape, "collect")
    # 25 blocks, two operations a weight, 220,000 tokens; 9 layers and 20 pairs, permuted on 60 % of the documents.
    assert work.forward == 220_000 * 2 * 25 * shape.n_block_parameters
    assert work.product == pytest.approx(220_000 * 2 * 576**2 * (9 + 20 + 0.6 * (5 + 8 + 20)), rel=0.15)
    again = estimate(settings, "collect", rates=SLOW)
    expected = FIXED_SECONDS["collect"] + SLOWDOWN["collect"] * (work.flops + work.disk_bytes) / 1e9
    assert again.by_stage["collect"].seconds == pytest.approx(expected)


@pytest.mark.parametrize("flow", STAGES_OF)
@pytest.mark.parametrize("method", ["ridge", "rrr_features"])
def test_a_flow_is_estimated_as_the_stages_that_it_runs(flow, method, monkeypatch):
    """The flows themselves say which: their tasks note that they were called."""
    tasks = {
        "collect_residuals": "collect",
        "obtain_saes": "saes",
        "measure_features": "features",
        "fit_operators": "operators",
        "evaluate_operators": "evaluate",
        "measure_causal": "causal",
        "write_report": "report",
        "score_features": "features",
        "explain_features": None,
        "publish_results": None,
    }
    modules = {name: importlib.import_module(f"flows.{name}") for name in STAGES_OF}
    run: list[str | None] = []
    stand_ins = {name: lambda *_, stage=stage: run.append(stage) or ["key"] for name, stage in tasks.items()}
    stand_ins |= {name: getattr(module, name).fn for name, module in modules.items()}  # without Prefect
    stand_ins |= {"stage_run": lambda *_: nullcontext(), "conclude": lambda *_: None, "show_link": lambda *_: None}
    flows = {name: stand_ins[name] for name in STAGES_OF}
    for of in modules.values():
        for name in {*stand_ins} & {*vars(of)}:
            monkeypatch.setattr(of, name, stand_ins[name])
    settings = load_settings("demo", [f"operators.methods=[ridge, {method}]"])
    flows[flow](settings)
    assert stages_of(flow, settings)[1:] == [stage for stage in dict.fromkeys(run) if stage]


def test_residuals_that_cannot_be_put_back_are_not_counted():
    assert "causal" not in stages_of("pipeline", load_settings("demo", ["collect.site=mlp_out"]))


@pytest.mark.parametrize(
    ("override", "stage"),
    [
        ("collect.n_tokens=440000", "collect"),
        ("saes.n_tokens=1200000", "saes"),
        ("features.candidate_percent=50", "features"),
        ("operators.methods=[ridge, elasticnet]", "operators"),
        ("operators.leaps=[1, 2, 3, 4, 6, 8]", "evaluate"),
        ("causal.n_sequences=500", "causal"),
    ],
)
def test_more_work_is_estimated_as_more_time(override, stage):
    before, after = (estimate(load_settings("demo", o), rates=SLOW) for o in ([], [override]))
    assert after.by_stage[stage].seconds > before.by_stage[stage].seconds


def test_the_machine_is_measured_and_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setattr(machine_rates, "ROUND_SECONDS", 0.001)
    rates = measure_rates(load_settings("demo", ["model.device=cpu"]), 32)
    assert min(vars(rates).values()) > 1e5
    assert disk_rate(tmp_path) > 1e5
    assert list(tmp_path.iterdir()) == []


def test_two_devices_take_half_the_passes_of_the_collection_each_and_the_rest_stays():
    one, two = (estimate(load_settings("demo", [f"model.device={name}"]), rates=SLOW) for name in ("cpu", '"cpu,cpu"'))
    for stage, work in ((stage, found.work) for stage, found in one.by_stage.items()):
        share = 2 if stage == "collect" else 1
        assert two.by_stage[stage].work == replace(work, forward=work.forward / share)


def test_what_runs_on_an_accelerator_is_measured_there(monkeypatch):
    monkeypatch.setattr("ato.numerics.devices.choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(machine_rates, "product_rate", lambda d, dtype, device: 100.0 if device.type == "cuda" else 9.0)
    monkeypatch.setattr(machine_rates, "host_product_rate", lambda d: 7.0)
    monkeypatch.setattr(machine_rates, "memory_rate", lambda device: 10.0 if device.type == "cuda" else 3.0)
    for name in ("solve_rate", "disk_rate"):
        monkeypatch.setattr(machine_rates, name, lambda *_: 1.0)
    rates = measure_rates(load_settings("demo", ["model.dtype=float32"]), 32)
    assert (rates.forward, rates.product, rates.host_product) == (100.0, 100.0, 7.0)
    assert (rates.memory, rates.device_memory) == (3.0, 10.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_accelerator_itself_is_measured():
    on_accelerator, on_processor = (product_rate(1024, torch.float32, torch.device(name)) for name in ("cuda", "cpu"))
    assert on_accelerator > 2 * on_processor


def test_people_read_one_line(monkeypatch):
    lines = []
    monkeypatch.setattr("tasks.engine.progress.say", lambda stage, message: lines.append(f"{stage} {message}"))
    monkeypatch.setattr(module, "measure_rates", lambda *_: SLOW)
    show_estimate(load_settings("gemma-2-2b"))
    show_estimate(load_settings("demo", ["model.name=nobody/nothing"]))
    assert len(lines) == 2
    assert "of memory" in lines[0]
    assert "GB of disk" in lines[0]
    assert "not known before it is here" in lines[1]


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
    with pytest.raises(ModelError, match="not known before it is here"):
        app(["run", "saes", "--set", "model.name=nobody/nothing", "--estimate"], standalone_mode=False)


def test_a_stage_lasts_from_the_end_of_the_one_before_whatever_its_own_rows_say(monkeypatch):
    ends = {part: 10.0 * (i + 1) for i, part in enumerate(p for parts in checked.STAGES.values() for p in parts)}
    # The last second of ten is what a stage notes as its own.
    rows = [{"stage": part, "started": end - 1, "seconds": 1.0} for part, end in ends.items()]
    rows[0] |= {"started": 0.0, "seconds": 10.0}
    monkeypatch.setattr(checked, "_stage_rows", lambda *_: rows)
    expected = {stage: 10.0 * len(parts) for stage, parts in checked.STAGES.items()}
    assert checked.stage_seconds(Path(), load_settings("demo")) == expected
    monkeypatch.setattr(checked, "_stage_rows", lambda *_: rows[:-1])
    assert checked.stage_seconds(Path(), load_settings("demo")) is None


@pytest.mark.parametrize(("stored", "same"), [({"k": 32, "layer": 12}, True), ({"k": 64, "layer": 12}, False)])
def test_a_study_is_the_demo_only_if_its_settings_are(stored, same):
    own = checked._own_settings(load_settings("demo"))["sae_weights"]
    assert checked._agree({"settings": json.dumps(stored)}, own) is same
