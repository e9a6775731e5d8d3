"""Neurons are counted as features are: by values above a threshold, with rows of the projection as decoder."""

import numpy as np
import pytest
import torch

from ato.errors import InputError, MismatchError, SettingsError
from ato.features.neurons import MLPNeurons, NeuronThresholds, mlp_neurons
from ato.features.stats import FeatureStats
from ato.models import load_model
from ato.residuals import ResidualBlock
from ato.saes import SharedEncoding
from tests.tiny_models import save_tiny_model

N, D_MLP = 300, 12


@pytest.fixture(scope="module")
def block() -> ResidualBlock:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(N, D_MLP)), dtype=torch.float32)
    x[:, 3] = 0.0  # never active
    x[:, 4] = 2.0  # always the same
    row = np.arange(N)
    return ResidualBlock({1: x}, row // 20, (row % 20).astype(np.int32), row % 7, row // 40, np.zeros(N, np.int16))


def test_active_neurons_are_the_values_above_the_threshold(block):
    x = block.residuals[1]
    threshold = torch.linspace(0, 1, D_MLP)
    for neurons, limit in ((MLPNeurons(torch.eye(D_MLP)), 0), (MLPNeurons(torch.eye(D_MLP), threshold), threshold)):
        found = neurons.active(x)
        dense = torch.zeros(N, D_MLP)
        dense[found.token, found.feature] = found.value
        assert torch.equal(dense, torch.where(x > limit, x, 0))
        assert (found.token.diff() >= 0).all()
        assert len(found.token) == int((x > limit).sum())


def test_statistics_of_features_take_neurons_as_they_are(block):
    neurons = MLPNeurons(torch.eye(D_MLP))
    stats = FeatureStats(neurons, 1)
    SharedEncoding(neurons, 1, [stats]).update(block)
    found = stats.result()
    np.testing.assert_array_equal(found.n_active, (block.residuals[1] > 0).sum(0))
    assert (found.n_active[3], found.n_active[4]) == (0, N)


def test_thresholds_are_exceeded_at_the_rate_and_blocks_change_nothing(block):
    whole = NeuronThresholds(D_MLP, 1).update(block).result(0.1)
    expected = np.quantile(block.residuals[1].numpy(), 0.9, axis=0)
    np.testing.assert_allclose(whole, np.maximum(expected, 0), rtol=1e-6)
    rates = (block.residuals[1] > whole).float().mean(0)
    assert rates[[3, 4]].tolist() == [0, 0]
    rates[[3, 4]] = 0.1
    np.testing.assert_allclose(rates, 0.1, atol=1 / N)
    shuffled = np.array_split(np.random.default_rng(1).permutation(N), 5)
    parts = [block.select(np.isin(np.arange(N), rows)) for rows in shuffled]
    some = NeuronThresholds(D_MLP, 1, 50).update(block).result(0.2)
    first, second = NeuronThresholds(D_MLP, 1, 50), NeuronThresholds(D_MLP, 1, 50)
    for i, part in enumerate(parts):
        (first if i < 2 else second).update(part)
    assert torch.equal((second + first).result(0.2), some)
    assert not torch.equal(NeuronThresholds(D_MLP, 1, 50, seed=1).update(block).result(0.2), some)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_neurons_of_a_model_write_what_its_mlp_adds(family, tmp_path):
    model = load_model(save_tiny_model(tmp_path, family, n_layers=2), device="cpu", dtype="float32")
    neurons = mlp_neurons(model, 1)
    ids, lengths = torch.arange(3, 11)[None], torch.tensor([8])
    found = model.read(ids, lengths, [1], site="mlp_out", beside={"mlp_neurons": [1]})
    bias = getattr(model.parts.submodule(1, "mlp_projection"), "bias", None)
    made = found.beside["mlp_neurons"][1] @ neurons.W_dec + (0 if bias is None else bias)
    torch.testing.assert_close(made, found.residuals[1])
    assert neurons.weights_hash != mlp_neurons(model, 0).weights_hash


def test_other_widths_negative_thresholds_and_no_tokens_are_refused(block):
    with pytest.raises(MismatchError, match="12 neurons"):
        MLPNeurons(torch.eye(D_MLP)).active(torch.zeros(2, 5))
    for wrong in (torch.zeros(3), -torch.ones(D_MLP)):
        with pytest.raises(SettingsError, match="thresholds"):
            MLPNeurons(torch.eye(D_MLP), wrong)
    with pytest.raises(InputError, match="no token"):
        NeuronThresholds(D_MLP, 1).result(0.1)
    with pytest.raises(InputError, match="not between"):
        NeuronThresholds(D_MLP, 1).update(block).result(1.0)
    with pytest.raises(MismatchError):
        NeuronThresholds(D_MLP, 1) + NeuronThresholds(D_MLP, 1, seed=1)
