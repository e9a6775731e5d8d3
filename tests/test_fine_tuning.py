"""The training of the examples: stops on the way change nothing of what comes behind them."""

import pytest
import torch

from ato.models import LanguageModel, load_model
from examples.adapters import fine_tuning
from tests.tiny_models import save_tiny_model
from tests.tiny_models import sequences_of as random_sequences


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama"), n_layers=3), device="cpu", dtype="float32")


def weights(model: LanguageModel) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.module.parameters()])


def test_stops_change_nothing_and_stand_in_the_order_of_the_steps(base):
    texts, before = random_sequences([12] * 7), weights(base)
    stopped = {step: weights(model) for step, model in fine_tuning(base, texts, [1, 2], steps=[5, 2, 4], rows=2)}
    assert list(stopped) == [2, 4, 5]
    for step, found in stopped.items():
        ((_, alone),) = fine_tuning(base, texts, [1, 2], steps=[step], rows=2)
        assert torch.equal(weights(alone), found), step
        assert not any(weight.requires_grad for weight in alone.module.parameters())
    assert not torch.equal(stopped[2], stopped[4])
    assert torch.equal(weights(base), before)
