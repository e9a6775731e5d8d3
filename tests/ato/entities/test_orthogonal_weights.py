"""An orthogonalised model of any family writes nothing along the direction, and is afterwards bit-equal."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ato.entities.orthogonal_weights import orthogonalised
from ato.errors import MismatchError, ModelError, SettingsError
from ato.models import LanguageModel, load_model, pad
from tests.tiny_models import FAMILIES, save_tiny_model

DIRECTION = torch.linspace(-1, 2, 32)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory) -> LanguageModel:
    loaded = load_model(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param), dtype="float32")
    generator = torch.Generator().manual_seed(3)
    for name, parameter in loaded.module.named_parameters():  # gains and biases are trivial in a new model
        if "norm" in name or name.endswith("bias"):
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return loaded


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return pad([np.random.default_rng(0).integers(3, 259, 20)])


def streams(model: LanguageModel, batch) -> torch.Tensor:
    """[n_layers + 1, t, d]: what enters the first block, and the residual behind each."""
    first = []
    hook = model.blocks[0].register_forward_pre_hook(
        lambda _, args, kwargs: first.append((*args, *kwargs.values())[0]), with_kwargs=True
    )
    try:
        residuals = model.residuals(*batch, range(model.n_layers))
    finally:
        hook.remove()
    return torch.stack([first[0][0], *(residuals[i][0] for i in range(model.n_layers))])


def state(model: LanguageModel) -> dict[str, tuple[int, torch.Tensor]]:
    return {name: (id(p), p.data.clone()) for name, p in model.module.named_parameters(remove_duplicate=False)}


def test_nothing_in_the_stream_lies_along_the_direction(model, batch):
    u = DIRECTION / DIRECTION.norm()
    before = streams(model, batch)
    assert ((before @ u).abs() / before.norm(dim=-1)).mean() > 0.05
    with orthogonalised(model, 5 * DIRECTION):
        found = streams(model, batch)
    assert ((found @ u).abs() / found.norm(dim=-1)).max() < 1e-5
    assert found.norm(dim=-1).min() > 0.1


def test_the_unembedding_stays_also_where_it_is_tied(model):
    head = model.parts.head.weight.clone()
    embedding = model.module.get_input_embeddings()
    with orthogonalised(model, DIRECTION):
        assert torch.equal(model.parts.head.weight, head)
        assert not torch.equal(embedding.weight[: len(head)], head)


@pytest.mark.parametrize("fails", [False, True])
def test_the_weights_are_bit_equal_afterwards(model, batch, fails):
    before, losses = state(model), model.token_losses(*batch)
    tied = model.parts.head.weight is model.module.get_input_embeddings().weight
    try:
        with orthogonalised(model, DIRECTION):
            assert not torch.equal(model.token_losses(*batch), losses)
            if fails:
                raise RuntimeError("planned")
    except RuntimeError:
        assert fails
    after = state(model)
    assert before.keys() == after.keys()
    for name, (identity, value) in before.items():
        assert after[name][0] == identity
        assert torch.equal(after[name][1], value)
    assert tied == (model.parts.head.weight is model.module.get_input_embeddings().weight)
    assert torch.equal(model.token_losses(*batch), losses)


def test_what_is_no_direction_of_the_stream_is_refused_and_nothing_changes(model, batch, monkeypatch):
    before = model.token_losses(*batch)
    for wrong, error in ((torch.ones(31), MismatchError), (torch.zeros(32), SettingsError)):
        with pytest.raises(error), orthogonalised(model, wrong):
            pass
    monkeypatch.setattr(model, "parts", replace(model.parts, known=False))
    with pytest.raises(ModelError, match="writes into the residual stream"), orthogonalised(model, DIRECTION):
        pass
    assert torch.equal(model.token_losses(*batch), before)
