"""SAEs read and written by us and by sae-lens are the same function; broken files are refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ato.errors import AtoError, DamagedFileError, SAEError
from ato.saes import ARCHITECTURES, load_sae, save_sae
from ato.saes.formats.sae_lens import current_config
from tests.ato.saes.random_saes import D_IN, D_SAE, known_to_sae_lens, lens_sae, random_residuals, random_sae


@pytest.fixture
def x() -> torch.Tensor:
    return random_residuals()


@pytest.mark.parametrize("architecture", known_to_sae_lens())
@pytest.mark.parametrize("apply_b_dec_to_input", [True, False])
def test_a_folder_written_by_sae_lens_gives_the_same_activations(tmp_path, x, architecture, apply_b_dec_to_input):
    theirs = lens_sae(architecture, apply_b_dec_to_input)
    theirs.save_model(tmp_path)
    ours = load_sae(tmp_path, d_model=D_IN)
    expected = theirs.encode(x).detach()
    torch.testing.assert_close(ours.encode(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.decode(ours.encode(x)), theirs(x).detach(), rtol=1e-4, atol=1e-4)
    assert torch.equal(ours.encode(x) > 0, expected > 0)
    assert ours.metadata["neuronpedia_id"] == "tiny/3-res"


@pytest.mark.parametrize("architecture", known_to_sae_lens())
def test_sae_lens_reads_what_we_write_with_the_same_activations(tmp_path, x, architecture):
    from sae_lens import SAE

    ours = random_sae(architecture)
    theirs = SAE.load_from_disk(save_sae(ours, tmp_path / "sae"))
    torch.testing.assert_close(theirs.encode(x).detach(), ours.encode(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs(x).detach(), ours.reconstruct(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saving_and_loading_gives_the_same_sae_and_equal_bytes(tmp_path, x, architecture):
    sae = random_sae(architecture, apply_b_dec_to_input=False)
    first, second = save_sae(sae, tmp_path / "a"), save_sae(load_sae(tmp_path / "a"), tmp_path / "b")
    assert torch.equal(load_sae(second).encode(x), load_sae(first).encode(x))
    if set(sae.kind.file_keys) == set(sae.weights):  # else what is folded on loading may be rounded once
        assert load_sae(first).weights_hash == sae.weights_hash
        for name in ("cfg.json", "sae_weights.safetensors"):
            assert (first / name).read_bytes() == (second / name).read_bytes()


def test_gemma_scope_npz_is_a_jumprelu_sae_that_does_not_subtract_its_bias(tmp_path, x):
    sae = random_sae("jumprelu", apply_b_dec_to_input=False)
    names = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
    np.savez(tmp_path / "params.npz", **{name: getattr(sae, name).numpy() for name in names})
    for path in (tmp_path, tmp_path / "params.npz"):
        loaded = load_sae(path, d_model=D_IN)
        assert (loaded.architecture, loaded.apply_b_dec_to_input) == ("jumprelu", False)
        assert torch.equal(loaded.encode(x), sae.encode(x))


def test_the_sparsity_in_the_path_of_a_gemma_scope_file_is_kept(tmp_path):
    sae = random_sae("jumprelu")
    folder = tmp_path / "layer_6" / "width_16k" / "average_l0_70"
    folder.mkdir(parents=True)
    names = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
    np.savez(folder / "params.npz", **{name: getattr(sae, name).numpy() for name in names})
    loaded = load_sae(folder)
    assert (loaded.metadata["l0"], loaded.hook_layer, loaded.site) == (70.0, 6, None)


def test_an_sae_of_attention_heads_is_read_where_the_heads_are_strung_together(tmp_path, x):
    from sae_lens import SAE

    config = lens_sae("standard").cfg.to_dict()
    config["metadata"] |= {"hook_name": "blocks.3.attn.hook_z"}
    theirs = SAE.from_dict(config | {"reshape_activations": "hook_z"})
    theirs.load_state_dict(lens_sae("standard").state_dict())
    theirs.save_model(tmp_path)
    ours = load_sae(tmp_path, d_model=D_IN, site="attn_z", layer=3)
    expected = theirs.encode(x.view(-1, 4, D_IN // 4)).detach()
    torch.testing.assert_close(ours.encode(x), expected, rtol=1e-4, atol=1e-4)


def edit_config(folder, **changes) -> None:
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config | changes))


def edit_weights(folder, **changes) -> None:
    weights = load_file(folder / "sae_weights.safetensors") | changes
    save_file({k: v for k, v in weights.items() if v is not None}, folder / "sae_weights.safetensors")


def truncate(file) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("break_it", "error", "says"),
    [
        (lambda f: (f / "cfg.json").unlink(), SAEError, "no cfg.json"),
        (lambda f: (f / "sae_weights.safetensors").unlink(), SAEError, "no sae_weights"),
        (lambda f: (f / "cfg.json").write_text('{"d_in": 1'), DamagedFileError, "JSON"),
        (lambda f: truncate(f / "sae_weights.safetensors"), DamagedFileError, "unreadable"),
        (lambda f: edit_config(f, architecture="temporal"), SAEError, ", ".join(ARCHITECTURES)),
        (lambda f: edit_config(f, architecture="jumprelu"), SAEError, "threshold"),
        (lambda f: edit_config(f, d_sae=D_SAE + 1), SAEError, "different SAEs"),
        (lambda f: edit_config(f, k=D_SAE + 1), SAEError, "k ="),
        (lambda f: edit_config(f, normalize_activations="layer_norm"), SAEError, "layer_norm"),
        (lambda f: edit_config(f, reshape_activations="hook_z"), SAEError, "attention heads"),
        (lambda f: edit_weights(f, W_dec=None), SAEError, "W_dec"),
        (lambda f: edit_weights(f, scaling_factor=torch.full((D_SAE,), 2.0)), SAEError, "scaling_factor"),
        (lambda f: edit_weights(f, W_dec=torch.zeros(D_SAE, D_IN + 1)), SAEError, "W_dec"),
        (lambda f: edit_weights(f, b_enc=torch.full((D_SAE,), torch.nan)), DamagedFileError, "b_enc holds NaN"),
    ],
)
def test_a_broken_folder_is_refused_in_one_line_that_names_the_file(tmp_path, break_it, error, says):
    save_sae(random_sae("topk"), tmp_path)
    break_it(tmp_path)
    with pytest.raises(error, match=says) as caught:
        load_sae(tmp_path, d_model=D_IN)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_sae_of_another_width_is_refused(tmp_path):
    save_sae(random_sae("topk"), tmp_path)
    with pytest.raises(SAEError, match="width 12, the model has 13"):
        load_sae(tmp_path, d_model=13)


def test_broken_npz_files_are_refused_and_objects_are_never_unpickled(tmp_path):
    file = tmp_path / "params.npz"
    with pytest.raises(SAEError, match="no such file"):
        load_sae(file)
    np.savez(file, W_enc=np.zeros((2, 3)))
    with pytest.raises(SAEError, match="threshold are missing"):
        load_sae(file)
    np.savez(file, W_enc=np.array([object()], dtype=object))
    with pytest.raises(AtoError, match="not arrays of numbers"):
        load_sae(file)
    file.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DamagedFileError):
        load_sae(file)
    file.write_bytes(b"no archive at all")
    with pytest.raises(AtoError):
        load_sae(file)


@pytest.mark.parametrize(
    ("old", "architecture", "k"),
    [
        ({}, "standard", None),
        ({"activation_fn_str": "relu", "architecture": "gated"}, "gated", None),
        ({"activation_fn": "relu", "architecture": "jumprelu"}, "jumprelu", None),
        ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}, "architecture": "standard"}, "topk", 4),
    ],
)
def test_configurations_before_version_6_name_architectures_by_their_activation(old, architecture, k):
    config = current_config({"hook_name": "blocks.3.hook_resid_post", **old}, where="cfg.json")
    assert (config["architecture"], config.get("k")) == (architecture, k)
    assert config["metadata"] == {"hook_name": "blocks.3.hook_resid_post"}


def test_an_old_configuration_with_another_activation_is_refused():
    with pytest.raises(SAEError, match=r"'tanh' is not supported \(cfg.json\): use relu or topk"):
        current_config({"activation_fn": "tanh"}, where="cfg.json")


@pytest.mark.parametrize(
    ("hook_name", "site", "layer", "says"),
    [
        (
            "blocks.6.hook_resid_post",
            "mlp_out",
            6,
            r"reads resid_post of layer 6 \(hook_name blocks.6.hook_resid_post\).*mlp_out",
        ),
        ("blocks.6.hook_mlp_out", "resid_post", 6, "reads mlp_out.*collect.site=mlp_out"),
        ("blocks.6.hook_resid_post", "resid_post", 7, "reads layer 6 .*listed under layer 7 .*: list it under layer 6"),
        ("blocks.6.hook_resid_pre", "resid_post", 6, "reads layer 5"),
        ("blocks.6.ln2.hook_normalized", "resid_post", 6, "reads blocks.6.ln2.hook_normalized"),
    ],
)
def test_an_sae_of_another_site_or_layer_is_refused_in_one_line(tmp_path, hook_name, site, layer, says):
    sae = replace(random_sae("topk"), metadata={"hook_name": hook_name})
    folder = save_sae(sae, tmp_path)
    with pytest.raises(SAEError, match=says) as caught:
        load_sae(folder, d_model=D_IN, site=site, layer=layer)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_sae_that_does_not_say_where_it_reads_is_not_refused(tmp_path):
    sae = load_sae(save_sae(random_sae("topk"), tmp_path), site="mlp_out", layer=3)
    assert (sae.site, sae.hook_layer) == (None, None)
