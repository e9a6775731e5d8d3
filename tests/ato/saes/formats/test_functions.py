"""Every published format is read as the function of its own code, here transcribed in NumPy, and as its own place."""

import numpy as np
import pytest
import torch

from ato.errors import SAEError
from ato.saes import load_sae, save_sae
from ato.saes.formats import FORMATS, find_format
from tests.ato.saes.formats import written


@pytest.mark.parametrize("write", written.WRITERS, ids=lambda write: write.__name__)
def test_activations_and_reconstruction_are_those_of_the_published_formula(tmp_path, write):
    path, reference = write(tmp_path)
    sae = load_sae(path, d_model=written.D, site="resid_post", layer=20)
    x = written.residuals()
    activations, rebuilt = reference(x.astype(np.float64))
    found = sae.encode(torch.tensor(x))
    assert np.array_equal(found.numpy() > 0, activations > 0)
    assert 0 < (activations > 0).mean() < 1
    np.testing.assert_allclose(found.numpy(), activations, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(sae.reconstruct(torch.tensor(x)).numpy(), rebuilt, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("write", written.WRITERS, ids=lambda write: write.__name__)
def test_what_was_read_is_the_same_function_at_the_same_place_after_saving(tmp_path, write):
    path, _ = write(tmp_path)
    sae, x = load_sae(path), torch.tensor(written.residuals())
    again = load_sae(save_sae(sae, tmp_path / "again"), site="resid_post", layer=20)
    torch.testing.assert_close(again.encode(x), sae.encode(x), rtol=1e-5, atol=1e-5)
    assert (again.place.site, again.place.layer) == ("resid_post", 20)
    assert again.declared_l0 == sae.declared_l0


@pytest.mark.parametrize("write", written.WRITERS, ids=lambda write: write.__name__)
def test_another_layer_or_site_is_refused_and_both_places_are_named(tmp_path, write):
    path, _ = write(tmp_path)
    with pytest.raises(SAEError, match=r"reads layer 20 .*listed under layer 12") as caught:
        load_sae(path, site="resid_post", layer=12)
    assert "\n" not in str(caught.value)
    with pytest.raises(SAEError, match=r"reads resid_post .*used at mlp_out"):
        load_sae(path, site="mlp_out", layer=20)


@pytest.mark.parametrize(
    ("write", "l0"),
    [
        (written.gemma_scope, 71),
        (written.gemma_scope_2, 20),
        (written.llama_scope, 10),
        (written.qwen_scope, 50),
        (written.sparsify, written.K),
        (written.auto_encoder, None),
        (written.auto_encoder_top_k, written.K),
        (written.batch_top_k, written.K),
        (written.jump_relu_auto_encoder, 20),
        (written.lens_batch_top_k, written.K),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_declared_sparsity_is_read(tmp_path, write, l0):
    assert load_sae(write(tmp_path)[0]).declared_l0 == l0


def test_single_files_are_read_as_their_folders(tmp_path):
    for write, name in [
        (written.gemma_scope_2, "params.safetensors"),
        (written.llama_scope, "checkpoints/final.safetensors"),
        (written.sparsify, "sae.safetensors"),
        (written.auto_encoder, "ae.pt"),
        (written.lens_top_k_old, "sae_weights.safetensors"),
    ]:
        path, _ = write(tmp_path / write.__name__)
        assert load_sae(path / name).weights_hash == load_sae(path).weights_hash


def test_checkpoints_of_dictionary_learning_use_the_configuration_above(tmp_path):
    path, _ = written.batch_top_k(tmp_path)
    (path / "checkpoints").mkdir()
    (path / "ae.pt").rename(path / "checkpoints" / "ae_1000.pt")
    sae = load_sae(path / "checkpoints" / "ae_1000.pt", site="resid_post", layer=20)
    assert sae.architecture == "jumprelu"


def test_every_format_is_written_by_a_test(tmp_path):
    used = {find_format(write(tmp_path / write.__name__)[0])[0].name for write in written.WRITERS}
    assert used == set(FORMATS)


def test_a_square_matrix_is_turned_by_the_format_and_never_by_its_shape(tmp_path):
    rng = np.random.default_rng(0)
    square = rng.normal(size=(8, 8)).astype(np.float32)
    zeros = np.zeros(8, dtype=np.float32)
    path = tmp_path / "layers.3"
    written.write_json(path / "cfg.json", {"d_in": 8, "num_latents": 8, "k": 8})
    weights = {"encoder.weight": square, "encoder.bias": zeros, "W_dec": square, "b_dec": zeros}
    written.write_safetensors(path / "sae.safetensors", weights)
    sae = load_sae(path)
    assert np.array_equal(sae.W_enc.numpy(), square.T)
    assert np.array_equal(sae.W_dec.numpy(), square)


@pytest.mark.parametrize("architecture", ["standard", "gated", "topk", "batchtopk", "matryoshka_batchtopk", "jumprelu"])
def test_checkpoints_of_sae_lens_itself_are_the_models_that_it_saves_of_them(tmp_path, architecture):
    from sae_lens import SAE
    from sae_lens.registry import get_sae_training_class

    kind, settings = get_sae_training_class(architecture)
    given = {"d_in": written.D, "d_sae": written.M, "k": written.K, "matryoshka_widths": [10, written.M]}
    theirs = kind(settings(**{name: value for name, value in given.items() if name in settings.__dataclass_fields__}))
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(
                torch.rand(weight.shape) if weight is getattr(theirs, "threshold", None) else torch.randn(weight.shape)
            )
        if hasattr(theirs, "topk_threshold"):
            theirs.topk_threshold.fill_(3.0)
    theirs.save_model(tmp_path / "checkpoint")
    theirs.save_inference_model(tmp_path / "model")
    saved, x = SAE.load_from_disk(tmp_path / "model"), torch.tensor(written.residuals())
    for folder in ("checkpoint", "model"):
        ours = load_sae(tmp_path / folder)
        assert torch.equal(ours.encode(x) > 0, saved.encode(x) > 0)
        torch.testing.assert_close(ours.encode(x), saved.encode(x).detach(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.reconstruct(x), saved(x).detach(), rtol=1e-4, atol=1e-4)
