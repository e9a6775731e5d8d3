"""Transcoders: their function, and files that sae-lens and circuit-tracer's layout share with us."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ato.errors import DamagedFileError, SAEError
from ato.saes.transcoder import Transcoder, with_norm
from ato.saes.transcoder_files import load_transcoder, load_transcoder_set, save_transcoder, save_transcoder_set

D_IN, D_OUT, D_SAE, K = 12, 10, 40, 5
HOOKS = {"hook_name": "blocks.3.mlp.hook_in", "hook_name_out": "blocks.3.hook_mlp_out"}
KINDS = [(architecture, skip) for architecture in ("standard", "topk", "jumprelu") for skip in (False, True)]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def random_transcoder(architecture: str, skip: bool, d_out: int = D_OUT) -> Transcoder:
    return Transcoder(
        architecture,
        draw(D_IN, D_SAE),
        draw(D_SAE),
        draw(D_SAE, d_out),
        draw(d_out),
        W_skip=draw(D_IN, d_out, seed=9) if skip else None,
        threshold=draw(D_SAE, seed=3).abs() if architecture == "jumprelu" else None,
        k=K if architecture == "topk" else None,
        metadata=HOOKS,
    )


def by_hand(transcoder: Transcoder, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations and output in float64, from the formulas."""
    weights = {name: weight.double() for name, weight in transcoder.weights.items()}
    pre = x.double() @ weights["W_enc"] + weights["b_enc"]
    acts = pre.clamp_min(0)
    if transcoder.architecture == "jumprelu":
        acts = acts * (pre > weights["threshold"])
    if transcoder.architecture == "topk":
        acts = acts * (pre >= pre.sort(dim=1, descending=True).values[:, K - 1 : K])
    y = acts @ weights["W_dec"] + weights["b_dec"]
    return acts, y + x.double() @ weights["W_skip"] if transcoder.W_skip is not None else y


@pytest.mark.parametrize(("architecture", "skip"), KINDS)
def test_activations_and_output_are_those_of_the_formula(architecture, skip):
    transcoder, x = random_transcoder(architecture, skip), draw(64, D_IN, seed=1)
    acts, y = by_hand(transcoder, x)
    torch.testing.assert_close(transcoder.encode(x).double(), acts, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(transcoder.reconstruct(x).double(), y, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(transcoder.decode(transcoder.encode(x), x).double(), y, rtol=1e-5, atol=1e-4)
    active = transcoder.active(x)
    dense = torch.zeros(64, D_SAE)
    dense[active.token, active.feature] = active.value
    assert torch.equal(dense, transcoder.encode(x))
    assert transcoder.reconstruct(x[:0]).shape == (0, D_OUT)


@pytest.mark.parametrize(("architecture", "skip"), [kind for kind in KINDS if kind[0] != "topk"])
def test_sae_lens_reads_what_is_written_and_we_read_what_sae_lens_writes(architecture, skip, tmp_path):
    from sae_lens import SAE

    transcoder, x = random_transcoder(architecture, skip), draw(64, D_IN, seed=1)
    theirs = SAE.load_from_disk(save_transcoder(transcoder, tmp_path / "ours"))
    theirs.eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs.encode(x), transcoder.encode(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(theirs(x), transcoder.reconstruct(x), rtol=1e-5, atol=1e-5)
        for weight in theirs.parameters():
            weight.add_(0.25)
        theirs.save_model(tmp_path / "theirs")
        ours = load_transcoder(tmp_path / "theirs")
        torch.testing.assert_close(ours.encode(x), theirs.encode(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(x), theirs(x), rtol=1e-5, atol=1e-4)
    assert (ours.hook_in.site, ours.hook_out.site, ours.hook_in.layer) == ("mlp_in", "mlp_out", 3)


@pytest.mark.parametrize(("architecture", "skip"), KINDS)
def test_a_set_written_in_circuit_tracers_layout_comes_back_and_its_file_is_its_formula(architecture, skip, tmp_path):
    import yaml

    transcoder, x = random_transcoder(architecture, skip, d_out=D_IN), draw(16, D_IN, seed=1)
    folder = save_transcoder_set({3: transcoder}, tmp_path, model_name="tiny/model")
    (layer, found), *rest = load_transcoder_set(folder).items()
    assert not rest
    assert layer == 3
    assert found.weights_hash == transcoder.weights_hash
    assert found.metadata == {**HOOKS, "model_name": "tiny/model"}
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["feature_input_hook"] == "mlp.hook_in"
    assert config["feature_output_hook"] == "hook_mlp_out"
    assert config["model_kind"] == "transcoder_set"
    # As circuit-tracer computes it: F.linear with W_enc [f, d], acts W_dec, x W_skip^T.
    file = load_file(folder / "layer_3.safetensors")
    pre = torch.nn.functional.linear(x, file["W_enc"], file["b_enc"])
    acts = transcoder.kind.gate(pre, file.get("activation_function.threshold"), config.get("k"))
    y = acts @ file["W_dec"] + file["b_dec"]
    y = y + x @ file["W_skip"].T if skip else y
    torch.testing.assert_close(y, found.reconstruct(x), rtol=1e-4, atol=1e-4)


def test_files_with_more_or_other_weights_are_refused(tmp_path):
    folder = save_transcoder(random_transcoder("standard", False), tmp_path / "lens")
    file = folder / "sae_weights.safetensors"
    weights = load_file(file)
    save_file({**weights, "W_skip": torch.zeros(D_OUT, D_IN)}, file)
    with pytest.raises(SAEError, match="weights W_skip have no part in a transcoder"):
        load_transcoder(folder)
    save_file({**weights, "b_enc": torch.full((D_SAE,), torch.nan)}, file)
    with pytest.raises(DamagedFileError, match="b_enc holds NaN"):
        load_transcoder(folder)
    save_file({name: w for name, w in weights.items() if name != "b_dec"}, file)
    with pytest.raises(SAEError, match="b_dec are missing"):
        load_transcoder(folder)
    save_file(weights, file)
    config = json.loads((folder / "cfg.json").read_text())
    for change, words in [
        ({"architecture": "topk"}, "is no transcoder"),
        ({"normalize_activations": "layer_norm"}, "normalised outside"),
        ({"gate_twice": 1}, "not known what gate_twice"),
        ({"metadata": {"model_from_pretrained_kwargs": {"fold_ln": True}}}, "its model was loaded with"),
        ({"d_sae": 7}, "W_enc is"),
    ]:
        (folder / "cfg.json").write_text(json.dumps(config | change))
        with pytest.raises(SAEError, match=words):
            load_transcoder(folder)
    with pytest.raises(SAEError, match="sae-lens has no topk transcoders"):
        save_transcoder(random_transcoder("topk", False), tmp_path / "no")
    one = save_transcoder_set({3: random_transcoder("standard", False)}, tmp_path / "set", model_name="m")
    layer = one / "layer_3.safetensors"
    save_file({**load_file(layer), "W_dec_lora": torch.zeros(2)}, layer)
    with pytest.raises(SAEError, match="W_dec_lora have no part"):
        load_transcoder_set(one)
    with pytest.raises(SAEError, match=r"no config\.yaml"):
        load_transcoder_set(tmp_path)


def test_weights_that_do_not_fit_are_refused_by_name():
    transcoder = random_transcoder("topk", True)
    for change, words in [
        ({"W_skip": draw(D_OUT, D_IN)}, "W_skip is"),
        ({"W_dec": draw(D_SAE + 1, D_OUT)}, "W_dec is"),
        ({"k": 0}, "k = 0"),
        ({"threshold": torch.zeros(D_SAE)}, "only jumprelu has"),
        ({"architecture": "jumprelu"}, "no threshold"),
        ({"architecture": "gated"}, "'gated' is not supported"),
        ({"W_enc": draw(2, D_IN, D_SAE)}, "3 and W_dec 2 dimensions"),
    ]:
        with pytest.raises(SAEError, match=words):
            replace(transcoder, **change)
    with pytest.raises(SAEError, match="width 7, the transcoder expects 12"):
        transcoder.encode(torch.zeros(3, 7))
    transcoder.check_sites("mlp_in", "mlp_out", 3)
    with pytest.raises(SAEError, match=r"hook_name = blocks\.3\.mlp\.hook_in, but is used at mlp_in of layer 2"):
        transcoder.check_sites("mlp_in", "mlp_out", 2)


def test_a_transcoder_of_the_norm_without_its_gain_becomes_one_of_mlp_in():
    transcoder = replace(
        random_transcoder("jumprelu", True), metadata=HOOKS | {"hook_name": "blocks.3.ln2.hook_normalized"}
    )
    with pytest.raises(SAEError, match="with_norm"):
        transcoder.check_sites("mlp_in", "mlp_out")
    gain, bias, normalised = draw(D_IN, seed=5) + 2, draw(D_IN, seed=6), draw(64, D_IN, seed=7)
    folded = with_norm(transcoder, gain, bias)
    folded.check_sites("mlp_in", "mlp_out", 3)
    torch.testing.assert_close(
        folded.reconstruct(normalised * gain + bias), transcoder.reconstruct(normalised), rtol=1e-3, atol=1e-3
    )
    with pytest.raises(SAEError, match=r"not ln2\.hook_normalized"):
        with_norm(folded, gain)
