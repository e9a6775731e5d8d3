"""SAEs read and written by us and by sae-lens are the same function."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ato.errors import AtoError, DamagedFileError, SAEError
from ato.saes import SparseAutoencoder, load_sae, save_sae

D_IN, D_SAE, K = 12, 40, 5


def random_sae(architecture: str, seed: int = 0, apply_b_dec_to_input: bool = True) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    gated = architecture in ("jumprelu", "gated")
    return SparseAutoencoder(
        architecture,
        draw(D_IN, D_SAE),
        draw(D_SAE),
        draw(D_SAE, D_IN),
        draw(D_IN),
        threshold=draw(D_SAE).abs() if gated else None,
        k=K if architecture == "topk" else None,
        apply_b_dec_to_input=apply_b_dec_to_input,
        metadata={"neuronpedia_id": "tiny/3-res"},
    )


def lens_sae(architecture: str, apply_b_dec_to_input: bool = True):
    """A sae-lens SAE of that architecture with random weights."""
    from sae_lens import SAE

    config = {
        "architecture": architecture,
        "d_in": D_IN,
        "d_sae": D_SAE,
        "k": K,
        "device": "cpu",
        "dtype": "float32",
        "apply_b_dec_to_input": apply_b_dec_to_input,
        "metadata": {"neuronpedia_id": "tiny/3-res"},
    }
    sae = SAE.from_dict(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in sae.named_parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
            if name == "threshold":
                weight.abs_()
    return sae


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(64, D_IN, generator=torch.Generator().manual_seed(9)) * 2 + 1


@pytest.mark.parametrize("architecture", ["topk", "jumprelu", "standard", "gated"])
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


@pytest.mark.parametrize("architecture", ["topk", "jumprelu", "standard", "gated"])
def test_sae_lens_reads_what_we_write_with_the_same_activations(tmp_path, x, architecture):
    from sae_lens import SAE

    ours = random_sae(architecture)
    theirs = SAE.load_from_disk(save_sae(ours, tmp_path / "sae"))
    torch.testing.assert_close(theirs.encode(x).detach(), ours.encode(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs(x).detach(), ours.reconstruct(x), rtol=1e-4, atol=1e-4)


def test_topk_with_rescaling_by_decoder_norm_is_folded_on_loading(tmp_path, x):
    from sae_lens import SAE

    save_sae(random_sae("topk"), tmp_path)
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps(config | {"rescale_acts_by_decoder_norm": True}))
    theirs, ours = SAE.load_from_disk(tmp_path), load_sae(tmp_path)
    torch.testing.assert_close(ours.encode(x), theirs.encode(x).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(x), theirs(x).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["topk", "jumprelu", "standard", "gated"])
def test_saving_and_loading_gives_the_same_sae_and_equal_bytes(tmp_path, x, architecture):
    sae = random_sae(architecture, apply_b_dec_to_input=False)
    first, second = save_sae(sae, tmp_path / "a"), save_sae(load_sae(tmp_path / "a"), tmp_path / "b")
    assert torch.equal(load_sae(second).encode(x), load_sae(first).encode(x))
    if architecture != "gated":  # whose threshold passes through b_gate and is rounded once
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
    assert load_sae(folder).metadata == {"l0": 70.0}


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


def test_an_activation_at_its_threshold_is_not_active():
    eye = torch.eye(2)
    sae = SparseAutoencoder("jumprelu", eye, torch.zeros(2), eye, torch.zeros(2), threshold=torch.tensor([1.0, 0.5]))
    assert sae.encode(torch.tensor([[1.0, 1.0], [2.0, -3.0]])).tolist() == [[0.0, 1.0], [2.0, 0.0]]


@pytest.mark.parametrize("architecture", ["topk", "jumprelu", "standard", "gated"])
def test_sparse_activations_are_the_positive_entries_of_the_dense_ones(x, architecture):
    sae = random_sae(architecture)
    dense, active = sae.encode(x), sae.active(x)
    rebuilt = torch.zeros_like(dense)
    rebuilt[active.token, active.feature] = active.value
    assert torch.equal(rebuilt, dense)
    assert (active.value > 0).all()
    assert (active.token.diff() >= 0).all()
    torch.testing.assert_close(sae.reconstruct(x), sae.decode(dense), rtol=1e-4, atol=1e-4)


def test_a_token_without_active_features_is_reconstructed_as_the_bias():
    sae = SparseAutoencoder("standard", torch.eye(3), torch.zeros(3), torch.eye(3), torch.full((3,), 2.0))
    x = torch.tensor([[0.0, 1.0, 2.0], [3.0, 2.0, 2.0], [-1.0, -1.0, -1.0]])
    assert sae.reconstruct(x).tolist() == [[2.0, 2.0, 2.0], [3.0, 2.0, 2.0], [2.0, 2.0, 2.0]]


def test_decoder_directions_have_length_one_and_a_zero_row_stays_zero():
    sae = random_sae("standard")
    sae.W_dec[3] = 0
    norms = sae.decoder_directions.norm(dim=1)
    assert norms[3] == 0
    torch.testing.assert_close(np.delete(norms.numpy(), 3), np.ones(D_SAE - 1, dtype=np.float32))


def test_the_weights_hash_changes_with_any_weight():
    sae, other = random_sae("jumprelu"), random_sae("jumprelu")
    assert sae.weights_hash == other.weights_hash
    other = random_sae("jumprelu")
    other.threshold[7] += 1e-3
    assert sae.weights_hash != other.weights_hash


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
        (lambda f: edit_config(f, architecture="temporal"), SAEError, "topk, jumprelu, standard, gated"),
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


def test_an_sae_of_another_width_is_refused(tmp_path, x):
    save_sae(random_sae("topk"), tmp_path)
    with pytest.raises(SAEError, match="width 12, the model has 13"):
        load_sae(tmp_path, d_model=13)
    with pytest.raises(SAEError, match="12"):
        random_sae("topk").encode(x[:, :-1])


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


@pytest.mark.parametrize("n_parts", [1, 2, 5])
def test_split_activations_are_those_of_the_split_rows(n_parts):
    rng = np.random.default_rng(0)
    weights = [torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in ((6, 20), 20, (20, 6), 6)]
    sae = SparseAutoencoder("standard", *weights)
    x = torch.tensor(rng.normal(size=(13, 6)), dtype=torch.float32)
    parts = sae.active(x).split(n_parts)
    assert torch.equal(torch.cat([x[rows] for rows, _ in parts]), x)
    for rows, part in parts:
        expected = sae.active(x[rows])
        assert part.n == expected.n
        for name in ("token", "feature"):
            assert torch.equal(getattr(part, name), getattr(expected, name))
        assert torch.allclose(part.value, expected.value, atol=1e-5)
