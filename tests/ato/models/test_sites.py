"""Sites: names of hooks in both dialects, values read and replaced there, and attention weights, for every family."""

import numpy as np
import pytest
import torch

from ato.errors import LayerError, ModelError, SettingsError
from ato.models import LanguageModel, load_model, pad
from ato.models.sites import SITES, Hook, parse_hook
from ato.residuals.live import LiveSource
from tests.tiny_models import FAMILIES, byte_tokenizer, plant_linear_blocks, save_tiny_model, sequences_of

LENGTHS = [24, 17, 5]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory) -> LanguageModel:
    folder = save_tiny_model(tmp_path_factory.mktemp(request.param), request.param)
    return load_model(folder, device="cpu", dtype="float32", attention="eager")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return pad([rng.integers(3, 259, n) for n in LENGTHS])


def test_what_attention_and_mlp_add_sums_to_the_next_residual(model, batch):
    real = torch.arange(batch[0].shape[1]) < batch[1][:, None]
    stream, attention, mlp = (model.residuals(*batch, range(4), site=s) for s in ("resid_post", "attn_out", "mlp_out"))
    for layer in range(1, 4):
        total = stream[layer - 1] + attention[layer] + mlp[layer]
        torch.testing.assert_close(total[real], stream[layer][real], rtol=1e-4, atol=1e-4)
        assert attention[layer].norm() > 0.01
        assert mlp[layer].norm() > 0.01


def test_the_output_projection_of_attn_z_is_what_attention_gives(model, batch):
    z = model.residuals(*batch, [2], site="attn_z")[2]
    assert z.shape[-1] == model.width("attn_z") == 32
    assert model.width() == model.width("mlp_out") == model.d_model
    given = []
    hook = model.parts.submodule(2, "attention").register_forward_hook(lambda m, a, output: given.append(output[0]))
    try:
        model.residuals(*batch, [2])
    finally:
        hook.remove()
    torch.testing.assert_close(model.parts.submodule(2, "projection")(z), given[0])


def test_heads_wider_than_the_stream_give_a_wider_attn_z(tmp_path, batch):
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 12, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=264, hidden_size=32, intermediate_size=48, max_position_embeddings=64, **heads)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    model = load_model(tmp_path, device="cpu", dtype="float32")
    assert (model.d_model, model.width("attn_z"), model.width("attn_out")) == (32, 48, 32)
    live = LiveSource(model, sequences_of([9, 12]), [1], n_folds=2, site="attn_z")
    assert live.d_model == next(live.blocks()).residuals[1].shape[1] == 48


def test_an_edit_by_the_true_value_changes_no_loss_at_any_site_and_zero_does(model, batch):
    plain = model.token_losses(*batch)
    for site in SITES:
        truth = model.residuals(*batch, [1], site=site)[1]
        same = model.token_losses(*batch, edit=lambda value, truth=truth: truth, layer=1, site=site)
        assert torch.equal(same, plain)
        assert not torch.allclose(model.token_losses(*batch, edit=torch.zeros_like, layer=1, site=site), plain)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())


def test_zeroing_attn_out_equals_zeroing_attn_z_where_the_projection_has_no_bias(folder, batch):
    model = load_model(folder, device="cpu", dtype="float32")
    losses = [model.token_losses(*batch, edit=torch.zeros_like, layer=2, site=site) for site in ("attn_out", "attn_z")]
    torch.testing.assert_close(*losses)


NORM_BEFORE_THE_MLP = {"gpt2": "ln_2", "gemma2": "pre_feedforward_layernorm", "gemma3": "pre_feedforward_layernorm"}


def test_mlp_in_is_the_output_of_the_norm_before_the_mlp_and_comes_with_mlp_out_in_one_pass(model, batch):
    kind = model.module.config.model_type
    name = NORM_BEFORE_THE_MLP.get(kind.removesuffix("_text"), "post_attention_layernorm")
    given = []
    hook = getattr(model.blocks[2], name).register_forward_hook(lambda m, a, output: given.append(output.clone()))
    try:
        found = model.read(*batch, [2], site="mlp_out", beside={"mlp_in": [2, 1]})
    finally:
        hook.remove()
    assert torch.equal(found.beside["mlp_in"][2], given[-1])
    for site, values in {"mlp_out": found.residuals, "mlp_in": found.beside["mlp_in"]}.items():
        alone = model.residuals(*batch, values, site=site)
        assert all(torch.equal(alone[layer], value) for layer, value in values.items())
    kept = model.read(*batch, [], beside={"mlp_in": [3]}, keep_beside=lambda site, layer, value: value[:, layer])
    assert torch.equal(kept.beside["mlp_in"][3], model.residuals(*batch, [3], site="mlp_in")[3][:, 3])


def test_the_mlp_of_mlp_in_is_what_it_adds(folder, batch):
    model = load_model(folder, device="cpu", dtype="float32")
    found = model.read(*batch, [1], site="mlp_out", beside={"mlp_in": [1]})
    assert torch.equal(model.blocks[1].mlp(found.beside["mlp_in"][1]), found.residuals[1])


def test_the_output_projection_of_mlp_neurons_gives_what_the_mlp_adds(folder, batch):
    model = load_model(folder, device="cpu", dtype="float32")
    found = model.read(*batch, [1], site="mlp_out", beside={"mlp_neurons": [1]})
    neurons = found.beside["mlp_neurons"][1]
    assert neurons.shape[-1] == model.width("mlp_neurons", [1])
    made = model.parts.submodule(1, "mlp_projection")(neurons)
    mlp = model.blocks[1].mlp
    gated = hasattr(mlp, "gate_proj")
    x = model.residuals(*batch, [1], site="mlp_in")[1]
    if gated:
        torch.testing.assert_close(neurons, mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x))
    post_norm = getattr(model.blocks[1], "post_feedforward_layernorm", None)
    torch.testing.assert_close(made if post_norm is None else post_norm(made), found.residuals[1])


def test_attention_weights_are_the_models_own_averaged_over_heads(model, batch):
    ids, lengths = batch
    found = model.read(ids, lengths, [0], attention=[1, 3])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    truth = model.module(ids, attention_mask=mask, output_attentions=True).attentions
    assert sorted(found.attention) == [1, 3]
    assert sorted(found.residuals) == [0]
    for layer, weights in found.attention.items():
        assert weights.dtype == torch.float32
        torch.testing.assert_close(weights[mask.bool()], truth[layer].mean(1)[mask.bool()])
        torch.testing.assert_close(weights[mask.bool()].sum(-1), torch.ones(sum(LENGTHS)))


def test_residuals_do_not_change_when_attention_is_read_beside_them(model, batch):
    alone, beside = model.residuals(*batch, [1, 2]), model.read(*batch, [1, 2], attention=[3]).residuals
    assert all(torch.equal(alone[layer], beside[layer]) for layer in (1, 2))


def test_attention_without_eager_is_refused_on_one_line_with_the_cure(folder, batch):
    model = load_model(folder, device="cpu", dtype="float32")
    for ask in (
        lambda: model.read(*batch, [0], attention=[1]),
        lambda: LiveSource(model, sequences_of([9, 9]), [0], n_folds=2, attention_layers=[1]),
    ):
        with pytest.raises(
            SettingsError, match=r"does not return attention weights.*: --set model.attention=eager"
        ) as e:
            ask()
        assert "\n" not in str(e.value)
    model.module.config._attn_implementation = "eager"  # a model that says so but gives none
    model.blocks[1].self_attn.register_forward_hook(lambda m, a, output: (output[0], None))
    with pytest.raises(SettingsError, match=r"block 1.*model.attention=eager"):
        model.read(*batch, [0], attention=[1])


def test_unknown_sites_and_layers_are_refused(folder, batch):
    model = load_model(folder, device="cpu", dtype="float32", attention="eager")
    with pytest.raises(
        SettingsError, match=r"unknown site 'resid_mid'.*attn_z, attn_out, mlp_in, mlp_neurons, mlp_out, resid_post"
    ):
        model.residuals(*batch, [0], site="resid_mid")
    with pytest.raises(LayerError, match=r"the model has no layers \[4\]"):
        model.read(*batch, [0], attention=[4])
    plant_linear_blocks(model.blocks, [np.zeros((32, 32))] * 4)
    with pytest.raises(ModelError, match=r"unknown block structure.*mlp_out of block 0, LinearBlock"):
        model.residuals(*batch, [0], site="mlp_out")


@pytest.mark.parametrize(
    ("name", "site", "layer"),
    [
        ("blocks.5.hook_resid_post", "resid_post", 5),
        ("blocks.5.hook_resid_pre", "resid_post", 4),
        ("blocks.12.hook_mlp_out", "mlp_out", 12),
        ("blocks.0.hook_attn_out", "attn_out", 0),
        ("blocks.7.attn.hook_z", "attn_z", 7),
        ("model.layers.20.output", "resid_post", 20),
        ("model.layers.20", "resid_post", 20),
        ("model.language_model.layers.3.output", "resid_post", 3),
        ("transformer.h.3", "resid_post", 3),
        ("gpt_neox.layers.3.mlp", "mlp_out", 3),
        ("layers.3.mlp.output", "mlp_out", 3),
        ("model.layers.3.post_feedforward_layernorm.output", "mlp_out", 3),
        ("blocks.3.mlp.hook_in", "mlp_in", 3),
        ("model.layers.3.mlp.input", "mlp_in", 3),
        ("blocks.3.mlp.hook_post", "mlp_neurons", 3),
        ("model.layers.3.mlp.down_proj.input", "mlp_neurons", 3),
        ("transformer.h.3.mlp.c_proj.input", "mlp_neurons", 3),
        ("model.layers.3.self_attn", "attn_out", 3),
        ("model.layers.3.self_attn.o_proj.input", "attn_z", 3),
    ],
)
def test_a_name_stands_for_a_site_and_a_layer(name, site, layer):
    assert parse_hook(name) == Hook(site, layer)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "hook_embed",
        "blocks.0.hook_resid_pre",
        "blocks.3.hook_resid_mid",
        "blocks.3.ln2.hook_normalized",
        "blocks.3.hook_mlp_in",
        "blocks.x.hook_resid_post",
        "model.layers.3.input",
        "model.layers.3.mlp.gate_proj",
        "model.layers.3.pre_feedforward_layernorm.output",
        "model.layers.3.self_attn.o_proj.output",
        "model.norm",
    ],
)
def test_other_places_stand_for_nothing(name):
    assert parse_hook(name) is None


@pytest.mark.parametrize("site", SITES)
def test_the_name_we_write_is_read_back_as_the_same_place(site):
    assert parse_hook(Hook(site, 11).lens_name) == Hook(site, 11)
