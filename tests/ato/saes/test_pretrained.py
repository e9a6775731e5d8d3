"""Published SAEs through sae-lens: converted to the same function, refused by name at once, never waited for offline.

The download itself is replaced by SAEs that sae-lens makes and saves here.
"""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ato.errors import DamagedFileError, SAEError, UnavailableError
from ato.saes import SparseAutoencoder, load_sae, pretrained, save_sae
from ato.saes.centring import centring_folded
from ato.saes.places import agreed_place
from ato.saes.pretrained import from_sae_lens, load_pretrained, split_release
from tests.ato.saes.random_saes import D_IN, D_SAE, known_to_sae_lens, lens_sae, random_residuals, random_sae

RELEASE, SAE_ID = "gemma-scope-2b-pt-res-canonical", "layer_6/width_16k/canonical"


@pytest.fixture
def x() -> torch.Tensor:
    return random_residuals()


@pytest.fixture
def published(monkeypatch, tmp_path):
    """A function that puts an SAE of sae-lens, saved and loaded once, where the download would come from."""

    def publish(sae, **metadata) -> None:
        from sae_lens import SAE

        for name, value in metadata.items():
            sae.cfg.metadata[name] = value
        sae.save_model(tmp_path / "published")
        monkeypatch.setattr(
            pretrained, "_from_pretrained", lambda release, sae_id: SAE.load_from_disk(tmp_path / "published")
        )

    return publish


@pytest.mark.parametrize("architecture", known_to_sae_lens())
@pytest.mark.parametrize("apply_b_dec_to_input", [True, False])
def test_a_published_sae_is_the_same_function_as_in_sae_lens(published, x, architecture, apply_b_dec_to_input):
    theirs = lens_sae(architecture, apply_b_dec_to_input)
    published(theirs, hook_name="blocks.6.hook_resid_post")
    ours = load_pretrained(RELEASE, SAE_ID)
    torch.testing.assert_close(ours.encode(x), theirs.encode(x).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(x), theirs(x).detach(), rtol=1e-4, atol=1e-4)
    assert (ours.site, ours.hook_layer) == ("resid_post", 6)


def test_metadata_say_what_the_directory_knows_and_survive_saving(published, tmp_path, x):
    published(lens_sae("jumprelu"), hook_name="blocks.6.hook_resid_post", neuronpedia_id=None)
    ours = load_pretrained(RELEASE, SAE_ID)
    expected = {
        "release": RELEASE,
        "sae_id": SAE_ID,
        "neuronpedia_id": "gemma-2-2b/6-gemmascope-res-16k",
        "l0": 70.0,
        "hook_name": "blocks.6.hook_resid_post",
    }
    assert expected.items() <= ours.metadata.items()
    again = load_sae(save_sae(ours, tmp_path / "saved"), site="resid_post", layer=6)
    assert expected.items() <= again.metadata.items()
    assert torch.equal(again.encode(x), ours.encode(x))


def test_half_precision_becomes_float32(x):
    theirs = lens_sae("standard").to(torch.bfloat16)
    ours = from_sae_lens(theirs)
    assert ours.W_enc.dtype == torch.float32
    assert torch.equal(ours.W_dec, theirs.W_dec.float())


@pytest.mark.parametrize("apply_b_dec_to_input", [True, False])
def test_centring_folded_into_the_encoder_is_centring_of_the_residuals(x, apply_b_dec_to_input):
    sae = random_sae("jumprelu", apply_b_dec_to_input=apply_b_dec_to_input)
    folded = replace(sae, **centring_folded(sae.weights, apply_b_dec_to_input))
    centred = x - x.mean(1, keepdim=True)
    torch.testing.assert_close(folded.pre_activations(x), sae.pre_activations(centred), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(folded.pre_activations(x + 100), folded.pre_activations(x), rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings(r"ignore:\s*This SAE has non-empty:UserWarning")
def test_an_sae_of_a_model_with_centred_weights_takes_the_residuals_of_the_published_model(published, x):
    theirs = lens_sae("standard")
    published(
        theirs, model_from_pretrained_kwargs={"center_writing_weights": True}, hook_name="blocks.8.hook_resid_pre"
    )
    ours = load_pretrained("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    expected = theirs.encode(x - x.mean(1, keepdim=True)).detach()
    torch.testing.assert_close(ours.encode(x), expected, rtol=1e-4, atol=1e-4)
    # What enters block 8 is what block 7 leaves behind.
    assert (ours.site, ours.hook_layer, ours.metadata["neuronpedia_id"]) == ("resid_post", 7, "gpt2-small/8-res-jb")


def test_normalisation_outside_the_weights_and_broken_weights_are_refused(published):
    theirs = lens_sae("standard")
    theirs.cfg.normalize_activations = "expected_average_only_in"
    published(theirs)
    with pytest.raises(SAEError, match="normalised by 'expected_average_only_in'"):
        load_pretrained(RELEASE, SAE_ID)
    theirs = lens_sae("standard")
    theirs.W_dec.data[0, 0] = torch.inf
    published(theirs)
    with pytest.raises(DamagedFileError, match="W_dec holds NaN or infinity"):
        load_pretrained(RELEASE, SAE_ID)
    theirs = lens_sae("standard")
    theirs.cfg.normalize_activations = "expected_average_only_in"
    published(theirs, norm_scaling_factor=1e39)
    with pytest.raises(DamagedFileError, match="W_enc holds NaN or infinity"):
        load_pretrained(RELEASE, SAE_ID)


def test_the_scaling_is_all_that_was_folded_by_the_configuration_and_by_the_directory(published, x):
    theirs = lens_sae("standard")
    theirs.cfg.normalize_activations = "expected_average_only_in"
    published(theirs, norm_scaling_factor=2.0, folded_scaling=1.5, hook_name="blocks.12.hook_resid_post")
    ours = load_pretrained("gemma-2b-res-jb", "blocks.12.hook_resid_post")
    torch.testing.assert_close(ours.encode(x), theirs.encode(2 * x).detach(), rtol=1e-4, atol=1e-4)
    listed = 0.21381938399317255  # sae-lens folds it on the download, which is replaced here
    assert ours.scaling == pytest.approx(2.0 * 1.5 * listed)
    assert not {"norm_scaling_factor", "folded_scaling"} & set(ours.metadata)


def test_a_transcoder_is_refused(published):
    from sae_lens import SAE

    config = {
        "architecture": "transcoder",
        "d_in": D_IN,
        "d_out": D_IN,
        "d_sae": D_SAE,
        "apply_b_dec_to_input": False,
        "device": "cpu",
        "dtype": "float32",
    }
    published(SAE.from_dict(config))
    with pytest.raises(SAEError, match="architecture 'transcoder' is not supported: it is a transcoder"):
        load_pretrained(RELEASE, SAE_ID)


@pytest.mark.parametrize(
    ("release", "sae_id"),
    [
        ("gemma-scope-2-4b-pt-transcoders-all", "layer_0_width_16k_l0_big"),
        ("gemma-scope-2b-pt-transcoders", "layer_0/width_16k/average_l0_76"),
        ("mwhanna-qwen3-4b-transcoders", "layer_0"),
        ("temporal-sae-gemma-2-2b", "blocks.12.hook_resid_post"),
    ],
)
def test_a_release_of_what_is_no_sae_is_refused_before_any_download(monkeypatch, release, sae_id):
    monkeypatch.setattr(pretrained, "_downloaded", lambda *_: pytest.fail("asked for a download"))
    with pytest.raises(SAEError, match=r"a transcoder|a temporal SAE") as caught:
        load_pretrained(release, sae_id)
    assert "\n" not in str(caught.value)


def test_no_release_of_the_directory_contradicts_itself_about_its_place():
    places, refused = {}, set()
    for release, entries in pretrained.pretrained_directory().items():
        for entry in entries["saes"]:
            try:
                place = agreed_place(pretrained._claims(release, entry))
            except SAEError as error:
                refused.add(error.what.partition(", ")[2] or error.what)
                continue
            if place.site != "embeddings":
                places[release, str(entry["id"])] = place.site, place.layer
    assert all(what.endswith("not an SAE") for what in refused), refused
    assert all(layer is not None for _, layer in places.values())
    assert places[RELEASE, SAE_ID] == ("resid_post", 6)
    assert places["gemma-scope-2-4b-pt-att", "layer_9_width_16k_l0_small"] == ("attn_z", 9)
    assert places["mistral-7b-res-wg", "blocks.8.hook_resid_pre"] == ("resid_post", 7)
    assert places["llama_scope_lxm_8x", "l15m_8x"] == ("mlp_out", 15)


@pytest.mark.parametrize("hook_name", ["blocks.7.hook_resid_post", "blocks.6.hook_mlp_out"])
def test_a_hook_that_contradicts_the_release_s_path_is_refused_and_both_are_named(published, hook_name):
    published(lens_sae("jumprelu"), hook_name=hook_name)
    with pytest.raises(SAEError, match=rf"{hook_name} says .*, but the path .*layer_6.* says ") as caught:
        load_pretrained(RELEASE, SAE_ID)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("release", "sae_id", "near"),
    [
        ("gemma-scope-2b-pt-res-canonicl", SAE_ID, RELEASE),
        (RELEASE, "layer_6/width_16/canonical", SAE_ID),
        ("gpt2-small-res-jp", "blocks.8.hook_resid_pre", "gpt2-small-res-jb"),
        ("ZZZ", "x", "did you mean"),
    ],
)
def test_an_unknown_name_is_refused_before_any_download_and_names_the_nearest(monkeypatch, release, sae_id, near):
    monkeypatch.setattr(pretrained, "_downloaded", lambda *_: pytest.fail("asked for a download"))
    with pytest.raises(SAEError) as caught:
        load_pretrained(release, sae_id)
    assert near in caught.value.cure
    assert "\n" not in str(caught.value)


def test_without_a_network_one_question_is_asked_and_one_line_said(monkeypatch):
    tries = []

    def absent(release: str, sae_id: str) -> None:
        from huggingface_hub import is_offline_mode

        tries.append(is_offline_mode())
        raise FileNotFoundError("not in the cache")

    def no_network(self, *args: object, **options: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(pretrained, "_from_pretrained", absent)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)
    with pytest.raises(UnavailableError, match="the hub cannot be reached") as caught:
        load_pretrained(RELEASE, SAE_ID)
    assert tries == [True]  # the cache only: the client's own retries take half a minute
    assert "\n" not in str(caught.value)
    assert f"{RELEASE}:{SAE_ID}" in str(caught.value)


def test_what_is_not_in_the_cache_is_downloaded_and_a_broken_download_can_be_resumed(monkeypatch):
    from huggingface_hub import constants

    before, answers = constants.HF_HUB_OFFLINE, [FileNotFoundError("cache"), None]

    def answer(release: str, sae_id: str) -> object:
        error = answers.pop(0)
        if error is not None:
            raise error
        assert before == constants.HF_HUB_OFFLINE
        return lens_sae("standard")

    monkeypatch.setattr(pretrained, "_from_pretrained", answer)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: SimpleNamespace(sha="c0ffee"))
    assert isinstance(load_pretrained(RELEASE, SAE_ID), SparseAutoencoder)
    answers[:] = [FileNotFoundError("cache"), ConnectionResetError("cut")]
    with pytest.raises(UnavailableError, match="run again to resume it"):
        load_pretrained(RELEASE, SAE_ID)


def test_a_release_and_an_id_are_parted_at_the_first_colon():
    assert split_release(f"{RELEASE}:{SAE_ID}") == (RELEASE, SAE_ID)
    for text in ("", RELEASE, f"{RELEASE}:", ":x"):
        with pytest.raises(SAEError, match="is not RELEASE:SAE_ID"):
            split_release(text)
