"""Nothing of a file is guessed: what is no SAE, not understood, contradictory or damaged is refused in one line."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from ato.errors import AtoError, DamagedFileError, SAEError
from ato.saes import load_sae
from tests.ato.saes.formats import written


def refused(path: Path, says: str, error: type[AtoError] = SAEError, **place) -> None:
    with pytest.raises(error, match=says) as caught:
        load_sae(path, **place)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def edit_config(file: Path, **changes) -> None:
    config = json.loads(file.read_text())
    inner = config.get("trainer", config)
    inner |= changes
    file.write_text(json.dumps(config))


def edit_tensors(file: Path, **changes) -> None:
    weights = load_file(file) | changes
    written.write_safetensors(file, {name: weight for name, weight in weights.items() if weight is not None})


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        ("gemma-scope-2b-pt-transcoders/layer_5/width_16k/average_l0_76", "a transcoder"),
        ("transcoder/layer_5/width_16k/average_l0_76", "a transcoder"),
        ("crosscoder/layer_5", "a crosscoder"),
    ],
)
def test_a_gemma_scope_transcoder_is_refused_by_its_path(tmp_path, folders, says):
    path = tmp_path / folders / "params.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, **written.drawn())
    refused(path, f"{says}.*not an SAE")


def test_a_tensor_of_a_skip_connection_makes_it_a_transcoder(tmp_path):
    skip = np.zeros((written.D, written.D), dtype=np.float32)
    np.savez(tmp_path / "params.npz", **written.drawn(), affine_skip_connection=skip)
    refused(tmp_path, "affine_skip_connection: a skip connection, so this is a transcoder")
    path, _ = written.gemma_scope_2(tmp_path)
    edit_tensors(path / "params.safetensors", affine_skip_connection=skip)
    refused(path, "affine_skip_connection: a skip connection")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hf_hook_point_out": "model.layers.20.post_feedforward_layernorm.output"}, "writes .*it is a transcoder"),
        ({"affine_connection": True}, "affine_connection = True.*transcoder"),
        ({"type": "crosscoder"}, "type = 'crosscoder'"),
        ({"architecture": "topk"}, "'topk' is not that of Gemma Scope 2"),
        ({"width": 41}, "width = 41, the weights have 40"),
        ({"input_scale": 2.0}, "not known what input_scale = 2.0 changes.*remove the key"),
        ({"hf_hook_point_in": "model.layers.12.output", "hf_hook_point_out": None}, "layer 12.*layer 20"),
        ({"hf_hook_point_in": "model.layers.20.mlp.output", "hf_hook_point_out": None}, "mlp_out.*resid_post"),
    ],
)
def test_a_configuration_of_gemma_scope_2_is_not_ignored(tmp_path, changes, says):
    path, _ = written.gemma_scope_2(tmp_path, **changes)
    refused(path, says)


def test_gemma_scope_2_reads_its_place_from_the_path_where_it_has_no_configuration(tmp_path):
    for site, name in [("attn_z", "attn_out_all"), ("mlp_out", "mlp_out"), ("resid_post", "resid_post_all")]:
        path, _ = written.gemma_scope_2(tmp_path, f"{name}/layer_7_width_16k_l0_big")
        (path / "config.json").unlink()
        assert load_sae(path, site=site, layer=7).hook_layer == 7
        refused(path, "layer 7 .*listed under layer 12", site=site, layer=12)
    path, _ = written.gemma_scope_2(tmp_path, "transcoder_all/layer_7_width_16k_l0_big_affine")
    (path / "config.json").unlink()
    refused(path, "a transcoder")


@pytest.mark.parametrize(
    ("write", "changes", "says"),
    [
        (written.sparsify, {"transcode": True}, "transcode = True: it is a transcoder"),
        (written.sparsify, {"skip_connection": True}, "skip_connection = True.*transcoder"),
        (written.sparsify, {"signed": True}, "signed = True"),
        (written.sparsify, {"input_unit_norm": True}, "input_unit_norm = True"),
        (written.sparsify, {"batch_topk": True}, "batch_topk = True"),
        (written.sparsify, {"hook_name": "blocks.12.hook_resid_post"}, "layer 12.*layer 20"),
        (written.sparsify, {"activation": "groupmax"}, "'groupmax' is not supported"),
        (written.sparsify, {"k": None}, "k = None is not a positive whole number"),
        (written.sparsify, {"jumps": 3}, "not known what jumps = 3 changes"),
        (written.sparsify, {"d_in": 13}, r"encoder.weight is \[40, 12\], expected \[40, 13\]"),
        (written.llama_scope, {"hook_point_out": "blocks.20.hook_mlp_out"}, "it is a transcoder"),
        (written.llama_scope, {"norm_activation": "token-wise"}, "each token is scaled by its own norm"),
        (written.llama_scope, {"dataset_average_activation_norm": None}, "dataset_average_activation_norm is missing"),
        (written.llama_scope, {"act_fn": "topk"}, "act_fn 'topk'"),
        (written.llama_scope, {"use_glu_encoder": True}, "second gate"),
        (
            written.llama_scope,
            {"hook_point_in": "blocks.12.hook_resid_post", "hook_point_out": None},
            "layer 12.*layer 20",
        ),
        (written.batch_top_k, {"k": 6}, "k = 6 in the configuration, 5 in the weights"),
        (written.batch_top_k, {"dict_class": "AutoEncoder"}, "weights bias are missing"),
        (written.batch_top_k, {"dict_class": "AutoEncoderNew"}, "weights decoder.bias are missing"),
        (written.matryoshka, {"dict_class": "JumpReluAutoEncoder"}, r"threshold is \[\], expected"),
        (written.auto_encoder, {"dict_class": "CrossCoder"}, "'CrossCoder' is not supported"),
        (written.auto_encoder, {"dict_class": None}, "dict_class None"),
        (written.auto_encoder, {"layer": 12}, "layer 20.*layer 12"),
        (written.auto_encoder, {"submodule_name": "mlp_out_layer_20"}, "mlp_out.*resid_post"),
        (written.auto_encoder, {"temperature": 2}, "not known what temperature = 2"),
        (written.auto_encoder, {"activation_dim": 13}, "expected"),
    ],
)
def test_settings_that_change_the_function_or_the_place_are_refused(tmp_path, write, changes, says):
    path, _ = write(tmp_path)
    edit_config(next(file for file in path.glob("*.json")), **changes)
    refused(path, says)


@pytest.mark.parametrize(
    ("module", "site", "layer"),
    [
        ("layers.5", "resid_post", 5),
        ("layers.5.mlp", "mlp_out", 5),
        ("layers.5.self_attn", "attn_out", 5),
        ("gpt_neox.layers.5.attention", "attn_out", 5),
        ("transformer.h.5", "resid_post", 5),
    ],
)
def test_the_module_in_a_folder_s_name_is_the_place(tmp_path, module, site, layer):
    path, _ = written.sparsify(tmp_path, module)
    sae = load_sae(path, site=site, layer=layer)
    assert (sae.site, sae.hook_layer) == (site, layer)
    refused(path, f"reads {site} .*used at attn_z", site="attn_z", layer=layer)
    refused(path, "reads layer 5 .*listed under layer 4", layer=4)


@pytest.mark.parametrize("module", ["embed_tokens", "layers.5.mlp.down_proj", "layers.5.input_layernorm"])
def test_a_module_that_is_not_read_here_is_refused_where_a_site_is_asked_for(tmp_path, module):
    path, _ = written.sparsify(tmp_path, module)
    refused(path, "the SAE reads .*but is used at resid_post", site="resid_post", layer=5)


def test_qwen_scope_without_its_repository_s_name_has_no_k(tmp_path):
    path, _ = written.qwen_scope(tmp_path)
    other = tmp_path / "mine" / path.name
    other.parent.mkdir()
    path.rename(other)
    refused(other, "k of a Qwen Scope SAE stands in its repository's name")
    path, _ = written.qwen_scope(tmp_path, "SAE-Res-Qwen3-1.7B-Base-W2K-L0_50")
    refused(path, r"2,048 features \(W2K\), W_enc has 1,024")


def standard(tmp_path: Path, weights: dict | None = None, **config) -> Path:
    w = written.without(written.drawn(), "threshold") | (weights or {})
    return written.sae_lens(tmp_path, w, **{"architecture": "standard"} | config)


@pytest.mark.parametrize(
    ("weights", "config", "says"),
    [
        ({"threshold": np.ones(40, np.float32)}, {}, "weights threshold have no part in an SAE of this kind"),
        ({"W_skip": np.ones((12, 12), np.float32)}, {}, "W_skip: a skip connection, so this is a transcoder"),
        ({}, {"k": 5}, "not known what k = 5 changes"),
        ({}, {"top_k": 5, "foo": "bar"}, "top_k = 5, foo = 'bar'"),
        ({}, {"rescale_acts_by_decoder_norm": True}, "rescale_acts_by_decoder_norm = True"),
        ({}, {"architecture": "abstopk"}, "signed activations"),
        ({}, {"architecture": "temporal"}, "a temporal SAE"),
        ({}, {"architecture": "skip_transcoder"}, "a transcoder"),
        ({}, {"normalize_activations": "layer_norm"}, "own deviation, which no weights can do"),
        ({}, {"normalize_activations": "constant_norm_rescale"}, "scaled to one norm, which no weights can do"),
        ({}, {"normalize_activations": "covariance_whitening"}, "whitened"),
        ({}, {"normalize_activations": "expected_average_only_in"}, "not known.*norm_scaling_factor = sqrt"),
        ({}, {"normalize_activations": "zscore"}, "'zscore'"),
        ({}, {"finetuning_scaling_factor": True}, "is set, but missing among the weights"),
        ({"W_enc": np.ones((40, 12), np.float32)}, {}, "W_enc is 40 x 12.*transposed"),
        ({"W_dec": np.ones((12, 40), np.float32)}, {}, "W_dec"),
        ({"W_enc": np.ones((12, 40), np.int8)}, {}, "W_enc is int8, not floating point"),
        ({}, {"metadata": {"hf_hook_name": "model.layers.5.mlp"}}, "resid_post of layer 20.*mlp_out of layer 5"),
        ({}, {"metadata": {"hook_name": None, "hf_hook_name": "model.layers.5.mlp"}}, "mlp_out of layer 5.*layer 20"),
        ({}, {"metadata": {"hook_name": "blocks.12.hook_resid_post"}}, "layer 12.*layer 20"),
        ({}, {"metadata": {"hook_name_out": "blocks.20.hook_mlp_out"}}, "it is a transcoder"),
        ({}, {"metadata": {"hook_head_index": 3}}, "one attention head alone"),
        ({}, {"metadata": {"model_from_pretrained_kwargs": {"n_layers": 3}}}, "was loaded with"),
    ],
)
def test_a_folder_of_sae_lens_is_used_whole_or_refused(tmp_path, weights, config, says):
    refused(standard(tmp_path, weights, **config), says)


def test_an_mlp_sae_is_no_resid_post_whatever_names_its_place(tmp_path):
    path = standard(tmp_path, metadata={"hook_name": None, "hf_hook_name": "model.layers.20.mlp"})
    path = path.rename(tmp_path / "mine")
    assert load_sae(path, site="mlp_out", layer=20).site == "mlp_out"
    refused(path, "reads mlp_out .*used at resid_post of layer 3", site="resid_post", layer=3)


def test_what_enters_a_block_is_the_layer_before_it_and_its_folder_may_name_the_block(tmp_path):
    path = standard(tmp_path, metadata={"hook_name": "blocks.8.hook_resid_pre", "hook_layer": 8})
    path = path.rename(tmp_path / "mistral_7b_layer_8")
    assert load_sae(path, site="resid_post", layer=7).hook_layer == 7
    refused(path.rename(tmp_path / "mistral_7b_layer_9"), "layer 7.*layer 9")


def test_negative_thresholds_are_no_thresholds(tmp_path):
    w = written.drawn()
    w["threshold"][:7] *= -1
    np.savez(tmp_path / "params.npz", **w)
    refused(tmp_path, "7 of 40 thresholds are negative.*log_threshold")
    path, _ = written.batch_top_k(tmp_path)
    weights = torch.load(path / "ae.pt", weights_only=True)
    torch.save(weights | {"threshold": torch.tensor(-1.0)}, path / "ae.pt")
    refused(path, "saved before training had set it")


def test_a_path_that_names_two_layers_is_refused(tmp_path):
    path = tmp_path / "layer_3_to_layer_5"
    path.mkdir()
    np.savez(path / "params.npz", **written.drawn())
    refused(path, "holds the layers 3 and 5")


@pytest.mark.parametrize("write", written.WRITERS, ids=lambda write: write.__name__)
def test_a_truncated_file_and_one_with_a_tensor_too_many_or_too_few_are_refused(tmp_path, write):
    path, _ = write(tmp_path)
    file = path if path.is_file() else next(iter([*path.rglob("*.safetensors"), *path.rglob("*.pt")]))
    whole = file.read_bytes()
    tensors = _tensors(file)
    for change, says in [
        ({"extra": np.ones(3, np.float32)}, "extra"),
        ({next(iter(tensors)): None}, "missing|expected"),
    ]:
        _write(file, {name: value for name, value in (tensors | change).items() if value is not None})
        refused(path, says)
    broken = {name: np.full_like(value, np.nan) for name, value in tensors.items() if name.lower() == "b_dec"}
    if broken:
        _write(file, tensors | broken)
        refused(path, "holds NaN or infinity", DamagedFileError)
    for size in (len(whole) // 2, 10, 0):
        file.write_bytes(whole[:size])
        with pytest.raises(AtoError) as caught:
            load_sae(path)
        assert str(file.name) in str(caught.value)
        assert "\n" not in str(caught.value)


def _tensors(file: Path) -> dict[str, np.ndarray]:
    if file.suffix == ".npz":
        with np.load(file) as data:
            return dict(data)
    if file.suffix == ".pt":
        return {name: value.numpy() for name, value in torch.load(file, weights_only=True).items()}
    return load_file(file)


def _write(file: Path, tensors: dict[str, np.ndarray]) -> None:
    if file.suffix == ".npz":
        np.savez(file, **tensors)
    elif file.suffix == ".pt":
        written.write_torch(file, tensors)
    else:
        written.write_safetensors(file, tensors)


class Attack:
    """What a hostile file asks the reader to call."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_code_in_a_file_is_never_run(tmp_path):
    path, _ = written.auto_encoder(tmp_path)
    mark = tmp_path / "ran"
    weights = torch.load(path / "ae.pt", weights_only=True)
    torch.save(weights | {"x": Attack(mark)}, path / "ae.pt")
    refused(path, "would run code of the file")
    (path / "ae.pt").write_bytes(pickle.dumps({"x": Attack(mark)}))
    with pytest.raises(AtoError):
        load_sae(path)
    with zipfile.ZipFile(tmp_path / "params.npz", "w") as archive:
        archive.writestr("W_enc.npy", pickle.dumps(Attack(mark)))
    with pytest.raises(AtoError):
        load_sae(tmp_path / "params.npz")
    torch.save([torch.zeros(3)], path / "ae.pt")
    refused(path, "no tensors by name")
    assert not mark.exists()


def test_a_set_of_transcoders_is_called_that(tmp_path):
    (tmp_path / "config.yaml").write_text("model_kind: transcoder_set\n")
    (tmp_path / "layer_0.safetensors").touch()
    refused(tmp_path, "a set of transcoders.* set site and target_site")


def test_a_folder_of_no_format_or_of_several_says_what_there_is(tmp_path):
    refused(tmp_path / "nowhere", "no such file or folder")
    refused(tmp_path, "no weights of a known format in the folder, which holds nothing.*params.npz")
    (tmp_path / "weights.bin").write_bytes(b"x")
    refused(tmp_path / "weights.bin", "of no known format.*layer\\*.sae.pt")
    written.gemma_scope_2(tmp_path, "both")
    np.savez(tmp_path / "both" / "params.npz", **written.drawn())
    refused(tmp_path / "both", "2 SAEs stand here: params.npz .gemma-scope., params.safetensors")
    path, _ = written.qwen_scope(tmp_path)
    (path.parent / "layer3.sae.pt").write_bytes(path.read_bytes())
    refused(path.parent, "2 SAEs stand here: layer20.sae.pt .* name one of the files")


@pytest.mark.parametrize("content", ["[1]", "{", "", "[" * 100_000])
def test_a_damaged_configuration_is_refused(tmp_path, content):
    path, _ = written.sparsify(tmp_path)
    (path / "cfg.json").write_text(content)
    refused(path, "JSON object", DamagedFileError)


@pytest.mark.parametrize(
    ("write", "changes"),
    [
        (written.lens_matryoshka, {"architecture": ["standard"]}),
        (written.lens_matryoshka, {"metadata": "none"}),
        (written.lens_matryoshka, {"metadata": {"hook_layer": "two"}}),
        (written.lens_matryoshka, {"metadata": {"model_from_pretrained_kwargs": [1]}}),
        (written.llama_scope, {"dataset_average_activation_norm": 5}),
        (written.llama_scope, {"dataset_average_activation_norm": {"in": "x"}}),
        (written.llama_scope, {"jump_relu_threshold": float("nan")}),
        (written.sparsify, {"num_latents": float("inf")}),
        (written.sparsify, {"k": float("nan")}),
        (written.auto_encoder, {"submodule_name": ["resid"], "layer": "20"}),
    ],
)
def test_a_value_of_another_type_is_one_line_that_names_the_file(tmp_path, write, changes):
    path, _ = write(tmp_path)
    file = next(file for file in path.glob("*.json"))
    edit_config(file, **changes)
    refused(path, "copy the configuration again")


@pytest.mark.parametrize("factor", [-0.7, 0, "x", float("nan"), [0.7]])
def test_a_factor_that_is_no_positive_number_is_not_folded(tmp_path, factor):
    path, _ = written.lens_batch_top_k_scaled(tmp_path)
    written.write_json(path / "activation_scaler.json", {"scaling_factor": factor})
    refused(path, "scaling_factor = .*activation_scaler.json")
