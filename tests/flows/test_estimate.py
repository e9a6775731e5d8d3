"""The estimate: sizes that are those of a real run, shapes that are those of real models, one line for people."""

import pytest

from ato import embedded
from ato.errors import ModelError
from ato.fitting import fit_operator
from ato.model_shapes import KNOWN, ModelShape, model_shape
from flows import estimate as module
from flows.estimate import (
    estimate,
    measured_rate,
    show_estimate,
)
from flows.settings import Settings, load_settings
from flows.sizes import activation_bytes, kept_tokens, moments_bytes, n_groups
from tests.flows.tiny_study import tiny_settings, write_corpus
from tests.tiny_models import save_tiny_model

GIGAFLOP = 1e9


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
    from tasks.collect import collect_residuals
    from warehouse.catalog import rows

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
    disk = module._operators(own, ModelShape(5, 64, 100, 10**6)).disk_bytes
    files = len(tiny.operators.pairs) * len(tiny.operators.methods)
    assert disk == pytest.approx(files * (tmp_path / "operator.safetensors").stat().st_size, rel=0.2)


def test_disk_and_memory_of_the_study_are_worked_out_by_hand():
    settings = load_settings("gemma-2-2b")
    # 250,000 tokens at layers 0 to 20, 2304 float32 numbers and 20 bytes of keys each: 48.5 GB.
    assert activation_bytes(settings, 2304) == 250_000 * 21 * (4 * 2304 + 20)
    # 21 layers and 20 pairs in 5 folds, val, test and the 4 pieces that 10, 25, 50 and 75 % cut from folds.
    assert n_groups(settings) == 11
    # Chance: 20 sources, 2 targets and 20 pairs once.
    assert moments_bytes(settings, 2304) == 8 * 2304**2 * (41 * 11 + 42)
    assert estimate(settings, flops_per_second=GIGAFLOP).memory_bytes > 4 * KNOWN["google/gemma-2-2b"].n_parameters


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


def test_time_is_inverse_to_the_rate_and_the_whole_is_the_sum_of_its_stages():
    settings = load_settings("demo")
    slow, fast = (estimate(settings, flops_per_second=rate) for rate in (GIGAFLOP, 4 * GIGAFLOP))
    assert slow.seconds == pytest.approx(4 * fast.seconds)
    assert slow.seconds == pytest.approx(sum(stage.flops for stage in slow.by_stage.values()) / GIGAFLOP)
    assert slow.disk_bytes == sum(stage.disk_bytes for stage in slow.by_stage.values())
    assert slow.memory_bytes > 2 * max(stage.memory_bytes for stage in slow.by_stage.values())


@pytest.mark.parametrize(
    ("override", "stage"),
    [
        ("collect.n_tokens=440000", "collect"), ("saes.n_tokens=1200000", "saes"), ("features.candidate_percent=50", "features"),
        ("operators.methods=[ridge, elasticnet]", "operators"), ("operators.leaps=[1, 2, 3, 4, 6, 8]", "evaluate"),
        ("causal.n_sequences=500", "causal"),
    ],
)  # fmt: skip
def test_more_work_is_estimated_as_more_time(override, stage):
    before, after = (estimate(load_settings("demo", o), flops_per_second=GIGAFLOP) for o in ([], [override]))
    assert after.by_stage[stage].flops > before.by_stage[stage].flops


def test_the_machine_is_measured():
    assert measured_rate("cpu") > 1e7


def test_people_read_one_line(monkeypatch, capsys):
    lines = []
    monkeypatch.setattr("tasks.progress.say", lambda stage, message: lines.append(f"{stage} {message}"))
    monkeypatch.setattr(module, "measured_rate", lambda device: 1e11)
    show_estimate(load_settings("gemma-2-2b"))
    show_estimate(load_settings("demo", ["model.name=nobody/nothing"]))
    assert len(lines) == 2
    assert "of memory" in lines[0]
    assert "GB of disk" in lines[0]
    assert "not known before it is here" in lines[1]
