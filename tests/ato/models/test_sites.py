"""Sites inside a block and attention weights, for every supported family."""

import numpy as np
import pytest
import torch

from ato.errors import LayerError, ModelError, SettingsError
from ato.models import LanguageModel, load_model, pad
from ato.models.families import Layout, find_parts
from ato.models.sites import SITES
from ato.residuals.exclusion import ExclusionPolicy
from ato.residuals.live import LiveSource, median_norms
from ato.text import TokenSequence
from tests.tiny_models import FAMILIES, byte_tokenizer, plant_linear_blocks, save_tiny_model

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


def sequences(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [
        TokenSequence(i, f"{i:016x}", i, "train", i % 2, 0, rng.integers(3, 259, n).astype(np.int32), "")
        for i, n in enumerate(lengths)
    ]


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
    live = LiveSource(model, sequences([9, 12]), [1], n_folds=2, site="attn_z")
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
        lambda: LiveSource(model, sequences([9, 9]), [0], n_folds=2, attention_layers=[1]),
    ):
        with pytest.raises(
            SettingsError, match=r"does not give its attention weights.*: --set model.attention=eager"
        ) as e:
            ask()
        assert "\n" not in str(e.value)
    model.module.config._attn_implementation = "eager"  # a model that says so but gives none
    model.blocks[1].self_attn.register_forward_hook(lambda m, a, output: (output[0], None))
    with pytest.raises(SettingsError, match=r"block 1.*model.attention=eager"):
        model.read(*batch, [0], attention=[1])


def test_unknown_sites_and_layers_are_refused(folder, batch):
    model = load_model(folder, device="cpu", dtype="float32", attention="eager")
    with pytest.raises(SettingsError, match=r"unknown site 'resid_mid'.*resid_post, mlp_out, attn_out, attn_z"):
        model.residuals(*batch, [0], site="resid_mid")
    with pytest.raises(LayerError, match=r"layers \[4\] are not in the model"):
        model.read(*batch, [0], attention=[4])
    plant_linear_blocks(model.blocks, [np.zeros((32, 32))] * 4)
    with pytest.raises(
        ModelError, match=r"parts of this model's blocks are not known.*mlp_out of block 0, LinearBlock"
    ):
        model.residuals(*batch, [0], site="mlp_out")


def test_an_unknown_family_takes_the_layout_that_fits_inside_its_blocks(folder, tmp_path):
    for path, expected in ((folder, "self_attn"), (save_tiny_model(tmp_path, "gemma2"), "post_attention_layernorm")):
        module = load_model(path, device="cpu", dtype="float32").module
        module.config.model_type = "never_heard_of"
        layout = find_parts(module).layout
        assert isinstance(layout, Layout)
        assert layout.attn_out == expected


def test_live_blocks_hold_the_site_and_the_attended_kept_positions_of_each_token(model):
    own = sequences([12, 30, 7, 12, 9])
    policy = ExclusionPolicy(skip_special=False, max_norm_multiple=None)
    options = {"n_folds": 2, "batch_size": 2, "policy": policy, "attention_layers": [2, 1], "attention_top_k": 5}
    live = LiveSource(model, own, [1], **options, site="attn_z")
    assert live.d_model == 32
    seen = 0
    for block in live.blocks():
        assert sorted(block.attended) == [1, 2]
        assert block.attended[2].positions.shape == (block.n, 5)
        for row in range(block.n):
            ids = torch.tensor(own[block.sequence_id[row]].token_ids[None].astype(np.int64))
            j = int(block.position[row])
            run = model.read(ids, [ids.shape[1]], [1], attention=[2], site="attn_z")
            torch.testing.assert_close(block.residuals[1][row], run.residuals[1][0, j], rtol=1e-3, atol=1e-4)
            weights = run.attention[2][0, j, 1 : j + 1].numpy()  # position 0 is no source
            positions = block.attended[2].positions[row]
            there = positions >= 0
            assert there.sum() == min(5, (weights > 0).sum())
            np.testing.assert_allclose(block.attended[2].weights[row][there], weights[positions[there] - 1], rtol=1e-3)
            np.testing.assert_allclose(
                block.attended[2].weights[row][there], np.sort(weights)[::-1][: there.sum()], rtol=1e-3
            )
            seen += 1
    assert seen == 65


def test_tokens_dropped_for_their_norm_are_no_sources(folder):
    model = load_model(folder, device="cpu", dtype="float32", attention="eager")
    own = sequences([30, 30, 30, 30])
    options = {"n_folds": 2, "attention_layers": [2], "attention_top_k": 30, "batch_size": 2}
    medians = median_norms(LiveSource(model, own, [0, 3], **options).blocks())
    limit = ExclusionPolicy(max_norm_multiple=1.1)
    live = LiveSource(model, own, [0, 3], **options, policy=limit, median_norm=medians)
    blocks = list(live.blocks())
    assert 10 < live.dropped["norm_outlier"] < 100
    for block in [*blocks, *live.blocks(layers=[0])]:
        kept = set(zip(block.sequence_id, block.position))
        for row in range(block.n):
            positions = block.attended[2].positions[row]
            earlier = {p for s, p in kept if s == block.sequence_id[row] and p <= block.position[row]}
            assert set(positions[positions >= 0]) == earlier
