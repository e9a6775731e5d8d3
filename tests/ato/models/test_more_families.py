"""Families beyond the first: what is read is the model's own, parts add up, or the site is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t

from ato.errors import LayerError, ModelError
from ato.features.logit_lens import logit_lens
from ato.models import LanguageModel, load_model, pad
from ato.models.cached_run import cached_run, rerun
from ato.models.families import find_parts
from ato.models.families_page import families_page
from ato.models.generation import Decoding, GenerationEdit, generate
from ato.models.layouts import FAMILIES
from ato.models.shapes import model_shape
from tests import model_zoo as zoo
from tests.tiny_models import byte_tokenizer

EVERY_SITE = zoo.CONFIGS | zoo.NESTED | zoo.UNKNOWN
PARTS_OF = {
    "opt": ("self_attn", "fc2"),
    "bloom": ("self_attention.dense", "mlp.dense_4h_to_h"),
    "glm4": ("post_self_attn_layernorm", "post_mlp_layernorm"),
    "qwen3_next": ("linear_attn", "mlp"),
    "qwen3_5": ("linear_attn", "mlp"),
    "llama4": ("self_attn", "feed_forward"),
    "lfm2": ("conv", "feed_forward"),
    "gemma4": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "olmo2": ("post_attention_layernorm", "post_feedforward_layernorm"),
}
"""Modules of block 0 whose outputs are its additions, told apart from the register by hand."""

NO_MLP_IN = ("gemma4", "gemma4 vision")
"""Where experts read the stream beside the MLP."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Name -> model, each loaded once."""
    kept: dict[str, LanguageModel] = {}

    def get(name: str) -> LanguageModel:
        if name not in kept:
            config = (EVERY_SITE | zoo.STREAM_ONLY)[name]()
            folder = zoo.save(config, tmp_path_factory.mktemp("model"))
            kept[name] = load_model(folder, device="cpu", dtype="float32")
        return kept[name]

    return get


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return pad([rng.integers(3, 259, n) for n in (20, 11)])


def outputs(model: LanguageModel, ids: torch.Tensor):
    with torch.no_grad():
        return model.module(input_ids=ids, output_hidden_states=True, use_cache=False)


def entering(model: LanguageModel, ids: torch.Tensor, layer: int) -> torch.Tensor:
    seen = []
    hook = model.blocks[layer].register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((*args, *kwargs.values())[0].clone()), with_kwargs=True
    )
    try:
        outputs(model, ids)
    finally:
        hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", EVERY_SITE | zoo.STREAM_ONLY)
def test_residuals_losses_and_logits_are_the_models_own(loaded, batch, name):
    model, ids, lengths = loaded(name), batch[0][:1], batch[1][:1]
    truth = outputs(model, ids)
    residuals = model.residuals(ids, lengths, range(model.n_layers))
    own = truth.hidden_states[-model.n_layers - 1 :]
    first = 0 if name in ("mamba", "mamba2") else 1  # these report no embedding
    torch.testing.assert_close(residuals[0], own[first])
    torch.testing.assert_close(model.parts.final_norm(residuals[model.n_layers - 1]), own[-1])
    labels = ids[0, 1:]
    expected = torch.nn.functional.cross_entropy(truth.logits[0, :-1].float(), labels, reduction="none")
    torch.testing.assert_close(model.token_losses(ids, lengths)[0], expected, rtol=1e-4, atol=1e-4)
    hidden = model.hidden_from(0, residuals[0], ids, lengths)
    torch.testing.assert_close(model.logits(hidden), truth.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", EVERY_SITE)
def test_attention_and_mlp_add_up_to_what_blocks_add(loaded, batch, name):
    model, ids = loaded(name), batch[0][:1]
    lengths, layers = batch[1][:1], range(model.n_layers)
    stream, attention, mlp = (
        model.residuals(ids, lengths, layers, site=s) for s in ("resid_post", "attn_out", "mlp_out")
    )
    for layer in layers:
        scale = float(getattr(model.blocks[layer], "layer_scalar", 1.0))
        before = entering(model, ids, layer)
        total = scale * (before + attention[layer] + mlp[layer])
        torch.testing.assert_close(total, stream[layer], rtol=1e-5, atol=1e-5)
        assert attention[layer].norm() > 1e-3 < mlp[layer].norm()


@pytest.mark.parametrize("name", EVERY_SITE)
def test_what_the_mlp_reads_can_be_put_back_and_is_the_only_thing_it_reads(loaded, batch, name):
    model, layer = loaded(name), 1
    if name in NO_MLP_IN:
        with pytest.raises(ModelError, match="mlp_in is not read in blocks of the kind"):
            model.residuals(*batch, [layer], site="mlp_in")
        return
    truth = model.residuals(*batch, [layer], site="mlp_in")[layer]
    assert truth.shape == (*batch[0].shape, model.d_model)
    plain = model.token_losses(*batch)
    assert torch.equal(model.token_losses(*batch, edit=lambda value: truth, layer=layer, site="mlp_in"), plain)
    # With a constant put in, the MLP adds the same at every token.
    seen: dict[int, torch.Tensor] = {}
    model.run_padded(
        *batch,
        edits={layer: torch.ones_like},
        site="mlp_in",
        beside={"mlp_out": [layer]},
        keep_beside=lambda site, layer, value: seen.setdefault(layer, value),
    )
    torch.testing.assert_close(seen[layer][0, 1:], seen[layer][0, :-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PARTS_OF)
def test_parts_are_those_told_apart_by_hand(loaded, batch, name):
    model, ids, lengths = loaded(name), batch[0][:1], batch[1][:1]
    for site, path in zip(("attn_out", "mlp_out"), PARTS_OF[name]):
        seen = []
        part = model.blocks[0].get_submodule(path)
        hook = part.register_forward_hook(lambda m, a, out, seen=seen: seen.append(out))
        try:
            outputs(model, ids)
        finally:
            hook.remove()
        given = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
        found = model.residuals(ids, lengths, [0], site=site)[0]
        torch.testing.assert_close(found, given.reshape(found.shape))


def test_parts_of_granite_are_multiplied_as_it_adds_them(loaded, batch):
    model, ids = loaded("granite"), batch[0][:1]
    seen = []
    hook = model.blocks[1].mlp.register_forward_hook(lambda m, a, out: seen.append(out))
    try:
        outputs(model, ids)
    finally:
        hook.remove()
    torch.testing.assert_close(model.residuals(ids, batch[1][:1], [1], site="mlp_out")[1], 0.22 * seen[0])


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_an_edit_at_any_site_is_what_the_stream_then_holds(loaded, batch, name):
    model, (ids, lengths) = loaded(name), batch
    plain = model.token_losses(ids, lengths)
    for site in ("attn_out", "mlp_out"):
        truth = model.residuals(ids, lengths, [1], site=site)[1]
        same = model.token_losses(ids, lengths, edit=lambda value, truth=truth: truth, layer=1, site=site)
        torch.testing.assert_close(same, plain, rtol=1e-4, atol=1e-4)
        shifted = model.forward(ids, None, read=[1], edits={1: lambda value: value + 1}, site=site)
        torch.testing.assert_close(shifted.residuals[1], model.forward(ids, None, read=[1], site=site).residuals[1] + 1)
        after = model.token_losses(ids, lengths, edit=torch.zeros_like, layer=1, site=site)
        assert not torch.allclose(after, plain)


@pytest.mark.parametrize("name", EVERY_SITE | zoo.STREAM_ONLY)
def test_completions_with_kept_keys_and_values_are_those_without(loaded, name):
    model = loaded(name)
    rng = np.random.default_rng(1)
    prompts = [rng.integers(3, 259, n) for n in (13, 4, 9)]

    def push(value: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return value + (positions % 2 == 0)[..., None] * torch.linspace(-1, 1, value.shape[-1])

    for edits in ((), (GenerationEdit(0, push),)):
        found, whole = (
            generate(model, prompts, Decoding(max_new_tokens=6, cache=cache), edits) for cache in (True, False)
        )
        assert [c.token_ids.tolist() for c in found] == [c.token_ids.tolist() for c in whole]
        np.testing.assert_allclose(
            [c.log_probability for c in found], [c.log_probability for c in whole], atol=1e-3, rtol=1e-3
        )
    unedited = generate(model, prompts[:1], Decoding(max_new_tokens=3))[0]
    own = torch.tensor(np.stack(prompts[:1]))
    for token in unedited.token_ids:
        assert int(outputs(model, own).logits[0, -1].argmax()) == token
        own = torch.cat([own, torch.tensor([[token]])], dim=1)


@pytest.mark.parametrize("name", zoo.STREAM_ONLY)
def test_sites_inside_state_space_blocks_are_refused_in_one_line(loaded, batch, name):
    model = loaded(name)
    for site in ("attn_out", "mlp_out", "attn_z"):
        with pytest.raises(
            ModelError, match=r"only resid_post is read in blocks of the kind \w+.*use the site resid_post"
        ) as e:
            model.residuals(*batch, [0], site=site)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_a_state_space_model_in_half_precision_is_read_though_its_stream_is_float32(tmp_path, batch, name, dtype):
    model = load_model(zoo.save(zoo.STREAM_ONLY[name](), tmp_path), device="cpu", dtype=dtype)
    ids, lengths = batch
    truth = outputs(model, ids[:1])
    residuals = model.residuals(ids[:1], lengths[:1], [0])
    hidden = model.hidden_from(0, residuals[0], ids[:1], lengths[:1])
    logits = model.logits(hidden)
    torch.testing.assert_close(logits.float(), truth.logits.float(), rtol=0.02, atol=0.02)
    run = cached_run(model, ids[:1], lengths[:1], [0])
    edit = residuals[0][:, 4:6].to(model.dtype)  # as an edit in the model's own precision arrives
    again = rerun(model, run, torch.tensor([0]), torch.tensor([4]), 0, edit)
    assert torch.isfinite(again.hidden).all()


@pytest.mark.parametrize("name", ["cohere", "granite", "granitemoe"])
def test_the_logit_lens_gives_logits_on_the_models_own_scale(loaded, name):
    model = loaded(name)
    direction = torch.randn(1, zoo.D, generator=torch.Generator().manual_seed(2))
    lens = logit_lens(direction, model.parts.unembedding(), 3)
    expected = {"cohere": 0.37}.get(name, 1 / 5) * (direction @ model.module.get_output_embeddings().weight.T)
    np.testing.assert_allclose(lens.top_logits, expected.topk(3).values.numpy(), rtol=1e-5)


def test_gemma_4_with_inputs_per_layer_and_shared_keys_is_read_right(tmp_path, batch):
    changes = {"num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2}
    ple = {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 264, "num_kv_shared_layers": 2}
    config = t.Gemma4TextConfig(**zoo._GEMMA4 | changes | ple)
    model = load_model(zoo.save(config, tmp_path), device="cpu", dtype="float32")
    ids, lengths = batch[0][:1], batch[1][:1]
    truth = outputs(model, ids)
    for layer in range(3):
        residual = model.residuals(ids, lengths, [layer])[layer]
        hidden = model.hidden_from(layer, residual, ids, lengths)
        torch.testing.assert_close(hidden, truth.hidden_states[-1], rtol=1e-4, atol=1e-4)
    assert not model.parts.cache
    assert model.width("mlp_out", range(4)) == zoo.D  # checked with the input per layer beside it
    with pytest.raises(LayerError, match=r"attn_z is not equally wide at all layers \(16 at layer 0, 32 at layer 1\)"):
        model.width("attn_z", [0, 1])
    prompts = [ids[0, :9].numpy()]
    cached, whole = (generate(model, prompts, Decoding(max_new_tokens=4, cache=c))[0] for c in (True, False))
    assert cached.token_ids.tolist() == whole.token_ids.tolist()


def test_an_opt_with_another_width_of_embeddings_is_read_behind_its_blocks_and_refused_inside(tmp_path, batch):
    config = zoo._opt(word_embed_proj_dim=8, do_layer_norm_before=False)
    model = load_model(zoo.save(config, tmp_path), device="cpu", dtype="float32")
    ids, lengths = batch[0][:1], batch[1][:1]
    assert model.d_model == zoo.D
    truth = outputs(model, ids).logits[0, :-1]
    expected = torch.nn.functional.cross_entropy(truth, ids[0, 1:], reduction="none")
    torch.testing.assert_close(model.token_losses(ids, lengths)[0], expected)
    lens = logit_lens(torch.eye(zoo.D)[:2], model.parts.unembedding(), 3)
    project = model.module.model.decoder.project_out.weight
    dense = (model.module.lm_head.weight @ project).T[:2]
    np.testing.assert_allclose(lens.top_logits, dense.topk(3).values.detach().numpy(), rtol=1e-5)
    with pytest.raises(ModelError, match="does not add up to what the block adds"):
        model.residuals(ids, lengths, [1], site="mlp_out")


def test_a_family_whose_parts_do_not_add_up_is_refused_at_these_sites_only(tmp_path, batch):
    config = t.BloomConfig(
        vocab_size=264, hidden_size=16, n_layer=2, n_head=4, apply_residual_connection_post_layernorm=True
    )
    model = load_model(zoo.save(config, tmp_path), device="cpu", dtype="float32")
    for site in ("attn_out", "mlp_out"):
        for ask in (
            lambda site=site: model.residuals(*batch, [0], site=site),
            lambda site=site: model.token_losses(*batch, edit=torch.zeros_like, layer=0, site=site),
            lambda site=site: model.width(site),
        ):
            with pytest.raises(ModelError, match=r"self-check failed.*does not add up.*use the site resid_post") as e:
                ask()
            assert "\n" not in str(e.value)
    assert model.residuals(*batch, [0])[0].shape[-1] == 16


def test_a_wrong_entry_of_the_register_is_found_by_the_check(tmp_path, batch, monkeypatch):
    monkeypatch.setitem(FAMILIES, "glm4", FAMILIES["llama"])  # reads before the norms behind attention and MLP
    model = load_model(zoo.save(zoo.CONFIGS["glm4"](), tmp_path), device="cpu", dtype="float32")
    with pytest.raises(ModelError, match=r"attention \(self_attn\) and MLP \(mlp\) of block 0 give does not add up"):
        model.residuals(*batch, [0], site="attn_out")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_adds_up_too_and_still_finds_a_wrong_part(tmp_path, batch, monkeypatch, dtype):
    folder = zoo.save(zoo.CONFIGS["glm4"](), tmp_path)
    model = load_model(folder, device="cpu", dtype=dtype)
    assert model.width("mlp_out", [0, 1]) == zoo.D
    monkeypatch.setitem(FAMILIES, "glm4", FAMILIES["llama"])
    with pytest.raises(ModelError, match="does not add up"):
        load_model(folder, device="cpu", dtype=dtype).width("mlp_out")


def test_a_model_that_looks_ahead_is_refused(tmp_path):
    config = t.BertConfig(
        vocab_size=264, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    module = t.BertLMHeadModel(config)
    module.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError) as e:
        load_model(tmp_path, device="cpu", dtype="float32")
    assert "\n" not in str(e.value)


def test_a_model_that_is_none_of_language_is_refused_in_one_line(tmp_path):
    t.CLIPVisionConfig(**zoo._VISION).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="is no causal language model that transformers has") as e:
        load_model(tmp_path, device="cpu", dtype="float32")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["bloom", "mamba", "gemma3 vision", "qwen2.5-vl", "llama4 vision", "qwen3_5", "opt"])
def test_the_shape_of_a_model_is_known_before_it_is_loaded(loaded, name, tmp_path):
    config = (EVERY_SITE | zoo.STREAM_ONLY)[name]()
    shape = model_shape(str(zoo.save(config, tmp_path)))
    model = loaded(name)
    assert (shape.n_layers, shape.d_model, shape.vocabulary) == (model.n_layers, model.d_model, model.vocabulary_size)
    own = {id(p): p.numel() for m in (model.parts.body, model.parts.head) for p in m.parameters()}
    assert shape.n_parameters == sum(own.values())
    (tmp_path / "model.safetensors").unlink()
    assert model_shape(str(tmp_path)).n_layers == model.n_layers


def test_models_of_no_named_context_are_limited_by_their_tokenizer(loaded):
    assert loaded("bloom").context_length == loaded("mamba").context_length == byte_tokenizer().model_max_length


def test_the_text_model_of_a_model_that_reads_images_is_the_one_that_is_read(loaded):
    for name in zoo.NESTED:
        parts = find_parts(loaded(name).module)
        assert parts.known
        assert "ision" not in type(parts.body).__name__
        assert len(parts.blocks) == loaded(name).n_layers


@pytest.mark.parametrize("name", ["opt", "bloom", "phi", "cohere2", "glm4", "gemma4", "llama4", "qwen2.5-vl"])
def test_attention_weights_are_the_models_own(loaded, batch, name):
    ids, lengths = batch[0][:1], batch[1][:1]
    model = load_model(loaded(name).module.name_or_path, device="cpu", dtype="float32", attention="eager")
    with torch.no_grad():
        truth = model.module(ids, output_attentions=True).attentions
    found = model.read(ids, lengths, [], attention=[0, 1]).attention
    for layer, weights in found.items():
        torch.testing.assert_close(weights, truth[layer].mean(1))
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(ids, dtype=torch.float32))


def test_attention_of_a_block_without_any_is_refused_in_one_line(loaded, batch):
    model = load_model(loaded("lfm2").module.name_or_path, device="cpu", dtype="float32", attention="eager")
    with pytest.raises(ModelError, match=r"attention of block 0, Lfm2DecoderLayer") as e:
        model.read(*batch, [], attention=[0])
    assert "\n" not in str(e.value)
    assert model.read(*batch, [], attention=[1]).attention[1].shape == (2, 20, 20)


def test_a_site_is_read_at_the_layers_whose_blocks_have_it(loaded, batch):
    model = loaded("lfm2")
    assert model.residuals(*batch, [1], site="attn_z")[1].shape[-1] == model.width("attn_z", [1]) == zoo.D
    with pytest.raises(ModelError, match="projection of block 0"):
        model.width("attn_z", [0, 1])


def test_the_page_of_families_is_the_register():
    page = Path(__file__).parents[3] / "docs" / "families.md"
    assert page.read_text(encoding="utf-8") == families_page(), (
        "run: python -m ato.models.families_page > docs/families.md"
    )
    assert all(f"| `{name}` |" in families_page() for name in FAMILIES)
