"""Loading models in the precision and with the attention asked for, and refusing what cannot be loaded."""

import shutil

import numpy as np
import pytest
import torch

from ato.errors import ModelError
from ato.models import load_model, pad
from tests.tiny_models import byte_tokenizer, save_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def load(spec, **options):
    return load_model(spec, device="cpu", **{"dtype": "float32"} | options)


def test_weights_are_loaded_in_the_precision_asked_for(folder):
    model = load(folder, dtype="bfloat16")
    ids, lengths = pad([np.arange(3, 20)])
    assert model.residuals(ids, lengths, [1])[1].dtype == torch.bfloat16
    assert model.token_losses(ids, lengths).dtype == torch.float32


def test_eager_attention_gives_the_same_losses(folder):
    ids, lengths = pad([np.arange(3, 40)])
    eager = load(folder, attention="eager")
    assert eager.module.config._attn_implementation == "eager"
    torch.testing.assert_close(
        eager.token_losses(ids, lengths), load(folder).token_losses(ids, lengths), rtol=1e-4, atol=1e-4
    )


def test_a_damaged_gguf_file_is_refused(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(ModelError, match="cannot load"):
        load(tmp_path / "broken.gguf")


def test_truncated_weights_are_refused(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot load the model"):
        load(copy)


def test_a_tokenizer_larger_than_the_model_is_refused(copy):
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([f"extra{i}" for i in range(20)])
    tokenizer.save_pretrained(copy)
    with pytest.raises(ModelError, match="tokenizer has 279 tokens and the model 264"):
        load(copy)


def test_loading_prints_nothing(folder, capfd):
    load(folder)
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_missing_are_named_and_never_random(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.2.mlp.down_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing, model.layers.2.mlp.down_proj.weight among them"):
        load(copy)
