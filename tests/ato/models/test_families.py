"""Parts of models are found by family, and models of other kinds are refused."""

import json
import shutil

import pytest
import torch

from ato.errors import ModelError
from ato.models import load_model
from ato.models.families import check_config, find_parts
from ato.models.layouts import Layout
from tests.tiny_models import FAMILIES, byte_tokenizer, save_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def load(spec, **options):
    return load_model(spec, device="cpu", **{"dtype": "float32"} | options)


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_encoder_decoder_model_is_refused(tmp_path):
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=264, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="encoder-decoder"):
        load(tmp_path)


def test_an_unsupported_family_is_refused_with_the_supported_ones(tmp_path):
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    config = OpenAIGPTConfig(vocab_size=264, n_embd=16, n_layer=1, n_head=2)
    OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"unsupported model type openai-gpt.*gpt2, gpt_neox, llama"):
        load(tmp_path)


def test_a_model_with_code_of_its_own_is_refused_unless_trusted(copy):
    edit_config(copy, model_type="homemade", auto_map={"AutoConfig": "m.C", "AutoModelForCausalLM": "m.M"})
    with pytest.raises(ModelError, match="trust_remote_code") as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_an_unknown_family_takes_the_parts_that_add_up(folder, tmp_path):
    for path, expected in ((folder, "self_attn"), (save_tiny_model(tmp_path, "gemma2"), "post_attention_layernorm")):
        model = load(path)
        model.module.config.model_type = "never_heard_of"
        model.parts = find_parts(model.module)
        assert (model.parts.known, model.parts.cache) == (False, False)
        model.check_site("attn_out", range(4))
        assert isinstance(model.parts.layout, Layout)
        assert model.parts.layout.attn_out == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_taken_apart_by_its_own_layout(family, tmp_path):
    module = load_model(save_tiny_model(tmp_path, family), device="cpu", dtype="float32").module
    parts = find_parts(module)
    assert len(parts.blocks) == 4
    assert parts.head is module.get_output_embeddings()
    width = module.get_input_embeddings().weight.shape[1]
    hidden = torch.randn(3, width, generator=torch.Generator().manual_seed(0))
    bare = parts.head(hidden)
    cap = 30.0 if family == "gemma2" else None
    assert parts.logit_softcap == cap
    torch.testing.assert_close(parts.logits(hidden), cap * torch.tanh(bare / cap) if cap else bare)
    for part in ("attention", "projection", "attn_out", "mlp_out"):
        assert any(module is parts.submodule(2, part) for module in parts.blocks[2].modules())


def test_a_part_that_a_block_lacks_is_named(folder):
    parts = find_parts(load(folder).module)
    parts.blocks[1] = torch.nn.Linear(32, 32)
    with pytest.raises(ModelError, match=r"projection of block 1, Linear\).*use the site resid_post"):
        parts.submodule(1, "projection")


def test_only_code_that_is_needed_and_not_trusted_is_refused():
    own = {"model_type": "homemade", "auto_map": {"AutoConfig": "m.C"}}
    with pytest.raises(ModelError, match="needs custom Python code"):
        check_config(own, "name", trust_remote_code=False)
    check_config(own, "name", trust_remote_code=True)
    check_config(own | {"model_type": "llama"}, "name", trust_remote_code=False)  # transformers' own code is taken
    with pytest.raises(ModelError, match="encoder-decoder"):
        check_config({"model_type": "llama", "is_encoder_decoder": True}, "name", trust_remote_code=True)
