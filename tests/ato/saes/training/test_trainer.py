"""Training finds planted dictionaries, is repeatable, and gives SAEs that take raw residuals."""

import numpy as np
import pytest
import torch

from ato.errors import CorpusError, LayerError, NonFiniteError, SettingsError
from ato.residuals import MemorySource
from ato.saes.training.checkpoints import read_checkpoint
from ato.saes.training.methods import TRAINABLE
from ato.saes.training.plan import TrainedSAE, TrainingPlan
from ato.saes.training.trainer import train_sae, train_saes
from tests.ato.saes.training.planted import LAYER, QUICK, D, held_out, planted, source_of, train
from warehouse.tables import TABLES


@pytest.fixture(scope="module")
def trained() -> TrainedSAE:
    return train(planted()[0])


def test_planted_directions_are_found_and_explain_held_out_tokens(trained):
    x, directions = planted()
    assert held_out(trained.sae, x).fvu.value < 0.1
    cosines = (trained.sae.decoder_directions.numpy() @ directions.T).max(0)
    assert np.median(cosines) > 0.95


def test_trained_decoder_rows_have_length_one(trained):
    torch.testing.assert_close(trained.sae.decoder_norms, torch.ones(32), rtol=1e-5, atol=1e-5)


def test_equal_arguments_give_equal_weights_and_another_seed_others(trained):
    x, _ = planted()
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = train(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.sae.weights_hash == trained.sae.weights_hash
    assert again.log == trained.log
    assert train(x, seed=1).sae.weights_hash != trained.sae.weights_hash


def test_the_size_of_source_blocks_changes_nothing(trained):
    x, _ = planted()
    again = train_sae(source_of(x, block_rows=77), LAYER, **QUICK)
    assert again.sae.weights_hash == trained.sae.weights_hash


def test_shift_and_scale_of_the_residuals_are_folded_into_the_weights(trained):
    x, _ = planted()
    offset = np.linspace(-300, 300, D)
    moved = train(100 * x + offset).sae
    expected = 100 * trained.sae.reconstruct(torch.tensor(x, dtype=torch.float32)).double().numpy() + offset
    found = moved.reconstruct(torch.tensor(100 * x + offset, dtype=torch.float32)).double().numpy()
    assert np.median(np.abs(found - expected)) < 5  # of a spread of 100: rounding in training grows, nothing else
    assert held_out(moved, 100 * x + offset).fvu.value == pytest.approx(held_out(trained.sae, x).fvu.value, abs=0.03)
    assert moved.scaling == pytest.approx(trained.sae.scaling / 100, rel=1e-3)


def test_the_last_logged_variance_unexplained_is_that_of_the_folded_sae(trained):
    x, _ = planted()
    assert trained.log[-1]["fvu"] == pytest.approx(held_out(trained.sae, x).fvu.value, abs=0.03)
    assert trained.log[-1]["l0"] == pytest.approx(held_out(trained.sae, x).l0, abs=0.1)


def test_log_rows_are_rows_of_the_table_and_reach_the_callbacks():
    steps, progress = [], []
    result = train(
        planted(2000)[0], n_tokens=5000, log_every=5, on_step=steps.append, on_progress=lambda *p: progress.append(p)
    )
    assert steps == result.log
    assert set(result.log[0]) == {c.name for c in TABLES["sae_training"].columns} - {"collection", "sae"}
    assert [row["step"] for row in result.log] == [1, 5, 10, 15, 19]
    assert [row["tokens"] for row in result.log] == [256 * row["step"] for row in result.log]
    assert progress[-1] == (19 * 256, 19 * 256)
    assert result.n_tokens == 19 * 256
    assert result.n_epochs == pytest.approx(19 * 256 / 1600)
    assert result.log[-1]["lr"] < result.log[2]["lr"]


@pytest.mark.parametrize(
    "change",
    [
        {"d_sae": 40},
        {"k": 3},
        {"n_tokens": 3000},
        {"batch_size": 128},
        {"lr": 1e-3},
        {"buffer_rows": 600},
        {"architecture": "jumprelu"},
        {"precision": "bfloat16"},
    ],
)
def test_every_setting_changes_the_weights(change):
    x, _ = planted(2000)
    few = {"n_tokens": 2560}
    assert train(x, **(few | change)).sae.weights_hash != train(x, **few).sae.weights_hash


@pytest.mark.parametrize(
    ("architecture", "change"),
    [
        ("topk", {"lr_decay": "constant"}),
        ("topk", {"lr_decay": "cosine"}),
        ("jumprelu", {"lr_decay": "cosine"}),
        ("topk", {"warm_up_share": 0.4}),
        ("standard", {"warm_up_share": 0.4}),
        ("topk", {"decay_share": 0.0}),
        ("gated", {"decay_share": 0.0}),
        ("topk", {"max_grad_norm": 0.1}),
        ("topk", {"max_grad_norm": None}),
        ("gated", {"max_grad_norm": 0.1}),
        ("gated", {"max_grad_norm": None}),
        ("batchtopk", {"dead_after": 512}),
        ("matryoshka_batchtopk", {"dead_after": 512, "dead_features": "none"}),
        ("topk", {"dead_after": 512, "dead_threshold": 0.05}),
        ("topk", {"dead_after": 512, "dead_features": "resample", "resample_every": 512}),
        ("jumprelu", {"dead_after": 512, "dead_features": "resample", "dead_threshold": 0.2, "resample_every": 512}),
        ("standard", {"l1_coefficient": 0.5}),
        ("gated", {"l1_coefficient": 0.5}),
        ("matryoshka_batchtopk", {"widths": (16, 64)}),
    ],
)
def test_every_setting_of_a_plan_changes_the_weights(architecture, change):
    base = {"dead_after": 512} if "dead_after" in change and len(change) > 1 else {}
    plans = [TrainingPlan(architecture, 64, 1, 1e-2, **own) for own in (base, change)]
    few = {"n_tokens": 2560, "batch_size": 256, "precision": "float32"}
    before, after = train_saes(source_of(planted(2000)[0]), LAYER, plans, **few)
    assert before.sae.weights_hash != after.sae.weights_hash


@pytest.mark.parametrize(
    ("change", "other"),
    [
        ({"resample_every": 512}, {"resample_every": 1024}),
        ({"dead_threshold": 0.01}, {"dead_threshold": 0.1}),
        ({"dead_after": 256}, {"dead_after": 1024}),
        ({"held_out_every": 1, "patience": 1}, {"held_out_every": 5, "patience": 1}),
        ({"held_out_every": 1, "patience": 1}, {"held_out_every": 1, "patience": 4}),
    ],
)
def test_settings_of_resampling_and_stopping_change_the_training(change, other):
    base = {"dead_after": 512, "dead_features": "resample", "resample_every": 512, "lr": 0.1, "dead_threshold": 0.05}
    plans = [TrainingPlan("topk", 64, 1, **(base | own)) for own in (change, other)]
    few = {"n_tokens": 256 * 20, "batch_size": 256, "precision": "float32"}
    before, after = train_saes(source_of(planted(2000)[0]), LAYER, plans, **few)
    assert before.sae.weights_hash != after.sae.weights_hash


def test_a_trained_sae_survives_saving_and_loading_by_sae_lens(trained, tmp_path):
    from sae_lens import SAE

    from ato.saes import save_sae

    x = torch.tensor(planted()[0][:50], dtype=torch.float32)
    theirs = SAE.load_from_disk(save_sae(trained.sae, tmp_path))
    torch.testing.assert_close(theirs(x).detach(), trained.sae.reconstruct(x), rtol=1e-4, atol=1e-4)


def test_too_little_or_broken_data_and_contradictory_settings_are_refused():
    x, _ = planted(200)
    only_test = MemorySource({LAYER: torch.tensor(x)}, group=np.full(200, 6, np.int16))
    with pytest.raises(CorpusError, match="no train residuals"):
        train_sae(only_test, LAYER, **QUICK)
    with pytest.raises(SettingsError, match="too small"):
        train(x, buffer_rows=300)
    with pytest.raises(SettingsError, match="k = 33"):
        train(x, k=33)
    with pytest.raises(SettingsError, match=" or ".join(TRAINABLE)):
        train(x, architecture="relu")
    with pytest.raises(SettingsError, match="n_tokens"):
        train(x, n_tokens=0)
    broken = x.copy()
    broken[7, 3] = np.nan
    with pytest.raises(NonFiniteError, match="layer 4"):
        train(broken)


@pytest.mark.parametrize("architecture", TRAINABLE)
def test_a_diverging_training_stops_and_says_at_which_step_which_sae_and_what_to_set(architecture, tmp_path):
    plans = [TrainingPlan("topk", 32, 2), TrainingPlan(architecture, 32, 2, lr=1e30, max_grad_norm=None)]
    told = (
        rf"diverged at step \d+ \(layer 4, SAE 1: {architecture} with 32 features, k = 2, seed 0\): "
        r"set a smaller lr than 1e\+30, or max_grad_norm of 1 or less"
    )
    path = tmp_path / "training.safetensors"
    few = {"n_tokens": 5120, "batch_size": 256, "precision": "float32", "checkpoint": path, "checkpoint_every": 1}
    with pytest.raises(NonFiniteError, match=told):
        train_saes(source_of(planted(2000)[0]), LAYER, plans, **few)
    assert path.exists() is False or read_checkpoint(path).step < 20
    with pytest.raises(NonFiniteError, match=r"smaller lr than 1e\+30$"):
        train(planted(2000)[0], architecture=architecture, lr=1e30, log_every=1)


def test_a_layer_without_residuals_and_an_empty_list_of_plans_are_refused():
    source = source_of(planted(200)[0])
    with pytest.raises(LayerError, match=r"no residuals of this layer \(layer 7\): choose from 4"):
        train_sae(source, 7, **QUICK)
    with pytest.raises(SettingsError, match="at least one plan"):
        train_saes(source, LAYER, [])
