"""Training finds planted dictionaries, is repeatable, and gives SAEs that take raw residuals."""

import numpy as np
import pytest
import torch

from ato.errors import CorpusError, NonFiniteError, SettingsError
from ato.residuals import MemorySource
from ato.saes.training.methods import TRAINABLE
from ato.saes.training.trainer import TrainedSAE, train_sae
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


def test_a_diverging_training_is_reported_and_not_saved():
    with pytest.raises(NonFiniteError, match=r"diverged at step \d+ .*smaller lr"):
        train(planted(2000)[0], lr=1e30, log_every=1)
