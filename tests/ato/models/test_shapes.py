"""Shapes of models, told before they are loaded, are those of the loaded models."""

import json
from types import SimpleNamespace

import pytest

from ato.errors import ModelError
from ato.io import embedded
from ato.models.layouts import context_of
from ato.models.shapes import KNOWN, ModelShape, model_shape
from tests.tiny_models import save_tiny_model


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


def test_a_model_within_another_and_an_untied_one_are_read_from_their_configuration(tmp_path):
    text = {"num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 100}
    for config, tied in (({"text_config": text}, True), ({**text, "tie_word_embeddings": False}, False)):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert model_shape(str(tmp_path)) == ModelShape(2, 8, 100, 24 * 64 + 800 * (2 - tied), tied)


@pytest.mark.parametrize("name", ["n_positions", "seq_length", "max_seq_len", "n_ctx"])
def test_the_longest_sequence_is_found_by_every_name_that_is_known_of_a_loaded_model(name, tmp_path):
    text = {"num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 100, name: 512}
    for config in (text, {"text_config": text}):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert model_shape(str(tmp_path)).context == 512
    assert context_of(SimpleNamespace(text_config=SimpleNamespace(**text))) == 512


def test_what_is_not_here_and_broken_weights_are_refused_with_their_name(tmp_path):
    for name in ("nobody/no-such-model", str(tmp_path / "nowhere"), "two words"):
        with pytest.raises(ModelError, match="model shape is unknown until the model is downloaded"):
            model_shape(name)
    (tmp_path / "config.json").write_text('{"n_layer": 1, "n_embd": 8, "vocab_size": 9}')
    (tmp_path / "model.safetensors").write_bytes(b"1234")
    with pytest.raises(ModelError, match=r"weights cannot be read \(.*model\.safetensors"):
        model_shape(str(tmp_path))
