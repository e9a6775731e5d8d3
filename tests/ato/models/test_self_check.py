"""The check on load finds models that are read wrongly, and leaves nothing behind."""

import pytest
import torch

from ato.errors import ModelError
from ato.models import load_model
from ato.models.self_check import self_check
from tests.tiny_models import n_hooks, save_tiny_model


@pytest.fixture
def copy(tmp_path):
    return save_tiny_model(tmp_path)


def test_loading_with_its_self_check_leaves_no_hook(tmp_path):
    model = load_model(save_tiny_model(tmp_path), device="cpu", dtype="float32")
    assert n_hooks(model) == 0
    truth = model.module(torch.tensor([[5, 6, 7]]), output_hidden_states=True)
    assert len(truth.hidden_states) == model.n_layers + 1


def test_the_self_check_refuses_a_model_whose_blocks_are_read_in_the_wrong_order(tmp_path):
    model = load_model(save_tiny_model(tmp_path), device="cpu", dtype="float32")
    parts = model.parts
    backwards = torch.nn.ModuleList(reversed(list(parts.blocks)))
    model.parts = parts.__class__(parts.body, backwards, parts.final_norm, parts.head, parts.logit_softcap)
    with pytest.raises(ModelError, match="self-check failed: the residual after block 0"):
        self_check(model)


def test_the_self_check_refuses_a_forgotten_soft_cap(tmp_path):
    model = load_model(save_tiny_model(tmp_path, "gemma2"), device="cpu", dtype="float32")
    parts = model.parts
    assert parts.logit_softcap
    model.parts = parts.__class__(parts.body, parts.blocks, parts.final_norm, parts.head, None)
    with pytest.raises(ModelError, match="the logits"):
        self_check(model)


def test_weights_that_overflow_are_refused(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["model.layers.2.mlp.down_proj.weight"] *= 1e38
    weights["model.layers.2.mlp.up_proj.weight"] *= 1e38
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="NaN or infinite"):
        load_model(copy, device="cpu", dtype="float32")
