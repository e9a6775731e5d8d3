"""The frozen, cut model: the same values as the model, and affine in its leaves, in every family with such a form."""

import pytest
import torch

from ato.graphs.local_model import LocalModel
from tests.ato.graphs.planted import random_model, random_sae, random_transcoder

FAMILIES = ("gpt2", "gpt_neox", "llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3")
MORE = ("phi", "phi3", "cohere", "cohere2", "granite", "glm", "glm4", "gemma", "opt")
IDS = [1, 40, 41, 90, 41, 17, 200, 33, 41, 90, 41, 17]
"""More than one pass records, see ``LocalModel.pull_back``."""


@pytest.fixture(scope="module", params=FAMILIES + MORE)
def model(request, tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model"), request.param)


def hidden_of(model, ids=IDS):
    return model.run_padded(torch.tensor([ids]), torch.tensor([len(ids)])).hidden


def cuts(kind, n_layers):
    if kind == "sae":
        return {layer: random_sae(layer) for layer in (0, n_layers - 1)}
    return {layer: random_transcoder(layer, skip=bool(layer % 2)) for layer in range(n_layers)}


@pytest.mark.parametrize("kind", ["sae", "transcoder"])
def test_readings_are_the_models_own_and_the_sum_of_jacobians_times_leaves_and_a_constant(model, kind):
    local = LocalModel(model, IDS, cuts(kind, model.n_layers))
    # Some families compute norms and softmax in float32, whatever their weights are in.
    torch.testing.assert_close(local.values.readings[-1], hidden_of(model), rtol=1e-4, atol=1e-4)
    again = local.run(local.values.stream, local.values.leaves)
    inputs = [local.values.stream, *local.values.leaves]
    zeros = [torch.zeros_like(value) for value in inputs]
    constants = local.run(zeros[0], zeros[1:])
    draw = torch.Generator().manual_seed(0)
    positions = torch.randint(len(IDS), (6,), generator=draw)
    vectors = torch.randn(6, 16, generator=draw, dtype=torch.float64)
    for reading, value in enumerate(local.values.readings):
        torch.testing.assert_close(again[reading], value, rtol=1e-10, atol=1e-10)
        gradients = local.pull_back(reading, positions, vectors)
        summed = (vectors * constants[reading][0, positions]).sum(1)
        for source, gradient in zip(local.sources(reading), gradients, strict=True):
            summed = summed + (gradient * inputs[source][:, : gradient.shape[1]]).sum((1, 2))
        torch.testing.assert_close(summed, (vectors * value[0, positions]).sum(1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(hidden_of(model), local.run(*_own(local), frozen=False)[-1], rtol=1e-5, atol=1e-5)


def test_rows_are_independent_and_tokens_do_not_depend_on_later_ones(model):
    local = LocalModel(model, IDS, cuts("sae", model.n_layers))
    inputs = [local.values.stream, *local.values.leaves]
    doubled = local.run(*_rows([torch.cat([value, 2 * value]) for value in inputs]))
    alone = local.run(*_rows([2 * value for value in inputs]))
    begun = local.run(*_rows([value[:, :7] for value in inputs]))
    for many, whole, other, first in zip(doubled, local.values.readings, alone, begun, strict=True):
        torch.testing.assert_close(many[:1], whole, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(many[1:], other, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(first, whole[:, :7], rtol=1e-9, atol=1e-9)


def _rows(values):
    return values[0], values[1:]


def _own(local):
    return local.values.stream, local.values.leaves
