"""Naming, loading and refusing models."""

import json
import shutil
import threading

import numpy as np
import pytest
import torch

from ato.errors import ModelError, UnavailableError
from ato.io import embedded
from ato.models import identify, load_model, pad
from tests.tiny_models import byte_tokenizer, save_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Every attempt to reach the hub fails, and its cache is empty."""
    import huggingface_hub

    def unreachable(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def load(spec, **options):
    return load_model(spec, device="cpu", **{"dtype": "float32"} | options)


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_loaded_model_knows_its_shape_and_its_special_tokens(folder):
    model = load(folder)
    assert (model.n_layers, model.d_model, model.vocabulary_size, model.context_length) == (4, 32, 264, 512)
    assert model.special_token_ids == {0, 1, 2}
    assert (model.device.type, model.dtype) == ("cpu", torch.float32)
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_identity_is_the_same_before_and_after_loading_and_in_another_folder(folder, copy):
    identity = identify(folder)
    assert load(folder).identity == identity
    assert identify(copy).weights_hash == identity.weights_hash
    assert len(identity.weights_hash) == 16
    assert identity.revision is None


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_one_changed_byte_changes_the_hash(copy, name):
    before = identify(copy).weights_hash
    data = bytearray((copy / name).read_bytes())
    data[data.rindex(b"2")] = ord("3")
    (copy / name).write_bytes(data)
    assert identify(copy).weights_hash != before


def test_other_weights_of_the_same_shape_have_another_hash(folder, tmp_path):
    assert identify(save_tiny_model(tmp_path, seed=1)).weights_hash != identify(folder).weights_hash


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


def test_threads_that_share_a_model_do_not_disturb_each_other(folder):
    model = load(folder)
    ids, lengths = pad([np.arange(3, 40)])
    residuals = model.residuals(ids, lengths, [1])[1]
    truth = model.token_losses(ids, lengths)
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(10):
            losses = (
                model.losses_from(1, residuals, ids, lengths)
                if number % 2
                else model.token_losses(ids, lengths, edit=lambda stream: stream, layer=2)
            )
            if not torch.equal(losses, truth):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_right_padding_marks_lengths_and_nothing_else():
    ids, lengths = pad([np.array([5, 6, 0], dtype=np.int32), np.array([7], dtype=np.int32)])
    assert ids.tolist() == [[5, 6, 0], [7, 0, 0]]
    assert lengths.tolist() == [3, 1]


@pytest.mark.parametrize("spec", ["no-such-model", "nobody/no-such-model"])
def test_an_unknown_hub_model_without_network_is_refused_in_one_line(spec, no_network):
    with pytest.raises(ModelError, match=r"hub cannot be reached.*use smollm2-135m") as caught:
        load(spec)
    assert "\n" not in str(caught.value)


def test_a_model_the_hub_does_not_have_is_refused(no_network, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    def missing(*args, **kwargs):
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", missing)
    with pytest.raises(ModelError, match="hub has no such model"):
        identify("nobody/no-such-model")


def test_a_cached_hub_model_is_used_without_asking_the_hub(folder, tmp_path, no_network):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--someone--tiny"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    model = load("someone/tiny")
    assert model.identity == identify("someone/tiny")
    assert (model.identity.model, model.identity.revision) == ("someone/tiny", commit)
    assert model.identity.weights_hash == identify(folder).weights_hash


@pytest.mark.parametrize("spec", ["./nowhere", "/nowhere/at/all", "a/b/c", "missing.gguf", "two words"])
def test_a_missing_file_is_refused_without_asking_the_hub(spec, monkeypatch):
    monkeypatch.setattr("ato.models.files._from_hub", lambda *args: pytest.fail("asked the hub"))
    with pytest.raises(ModelError, match="there is no such"):
        load(spec)


def test_a_damaged_gguf_file_is_refused(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(ModelError, match="cannot load"):
        load(tmp_path / "broken.gguf")


def test_a_folder_without_a_tokenizer_is_refused(copy):
    for file in copy.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"no tokenizer.*same folder"):
        load(copy)


def test_a_folder_with_pickled_weights_only_is_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no safetensors weights.*pickled"):
        load(copy)


def test_a_folder_without_configuration_is_refused(copy):
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        load(copy)


def test_truncated_weights_are_refused(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot load the model"):
        load(copy)


def test_an_encoder_decoder_model_is_refused(tmp_path):
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=264, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="encoder-decoder"):
        load(tmp_path)


def test_an_unsupported_family_is_refused_with_the_supported_ones(tmp_path):
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=264, hidden_size=16, state_size=4, num_hidden_layers=1)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"type mamba are not supported.*gpt2, gpt_neox, llama"):
        load(tmp_path)


def test_a_model_with_code_of_its_own_is_refused_unless_trusted(copy):
    edit_config(copy, model_type="homemade", auto_map={"AutoConfig": "m.C", "AutoModelForCausalLM": "m.M"})
    with pytest.raises(ModelError, match="trust_remote_code") as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_larger_than_the_model_is_refused(copy):
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([f"extra{i}" for i in range(20)])
    tokenizer.save_pretrained(copy)
    with pytest.raises(ModelError, match="tokenizer has 279 tokens and the model 264"):
        load(copy)


def test_weights_that_overflow_are_refused(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["model.layers.2.mlp.down_proj.weight"] *= 1e38
    weights["model.layers.2.mlp.up_proj.weight"] *= 1e38
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="NaN or infinite"):
        load(copy)


def test_loading_prints_nothing(folder, capfd):
    load(folder)
    assert capfd.readouterr() == ("", "")


def test_an_absent_package_of_the_embedded_model_names_the_cure(monkeypatch):
    monkeypatch.setattr(embedded, "_MODEL_PACKAGE", "no-such-package")
    with pytest.raises(UnavailableError, match=r"package no-such-package is not installed: run `make install`"):
        identify("smollm2-135m")
