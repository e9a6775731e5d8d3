"""An edit of a feature moves the residual by exactly delta times the decoder row, alike with and without a cache."""

import numpy as np
import pytest
import torch

from ato.causal.feature_edits import EditedTokens, FeatureEdit, edited, placed_edits
from ato.errors import LayerError, NonFiniteError, SAEError, SettingsError
from ato.models import LanguageModel, load_model, pad
from ato.models.generation import Decoding, generate
from ato.models.prompt_pass import GenerationEdit, prompt_pass
from ato.saes import SparseAutoencoder
from tests.tiny_models import save_tiny_model

D = 32
SPECIAL = (1, 2)


def random_sae(architecture: str = "topk", seed: int = 0, d_sae: int = 48) -> SparseAutoencoder:
    """Random weights with decoder rows of different lengths: it explains little, so that its error is large."""
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(shape, generator=g) for shape in ((D, d_sae), (d_sae,), (d_sae, D), (D,))]
    threshold = torch.full((d_sae,), 0.5) if architecture == "jumprelu" else None
    return SparseAutoencoder(architecture, *weights, threshold=threshold, k=8 if architecture == "topk" else None)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request, tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param), dtype="float32")


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = [rng.integers(3, 259, n) for n in (9, 4, 14)]
    found[0][:2], found[2][5] = 1, 2
    return found


@pytest.fixture
def x() -> torch.Tensor:
    return 3 * torch.randn(20, D, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("architecture", ["topk", "standard", "jumprelu"])
@pytest.mark.parametrize(
    ("how", "amount", "delta"),
    [
        ("to", 8.0, lambda a: 8 - a),
        ("add", -2.5, lambda a: torch.full_like(a, -2.5)),
        ("scale", 3.0, lambda a: 2 * a),
        ("ablate", 0.0, lambda a: -a),
    ],
)
def test_the_residual_moves_by_delta_times_the_decoder_row_and_the_error_of_the_sae_stays(
    x, architecture, how, amount, delta
):
    sae = random_sae(architecture)
    a = sae.encode(x)
    feature = int((a > 0).sum(0).argmax())
    assert (a[:, feature] > 0).sum() > 0
    found = edited(x, [FeatureEdit(sae, 1, feature, how, amount)])
    torch.testing.assert_close(found - x, delta(a[:, feature])[:, None] * sae.W_dec[feature], rtol=1e-5, atol=2e-5)
    assert (x - sae.reconstruct(x)).norm() > 0.5 * x.norm()  # a removed error would show


def test_several_features_are_read_from_the_same_residual_in_any_order(x):
    one, other = random_sae(), random_sae("standard", 3)
    edits = [FeatureEdit(one, 1, 4, "to", 5.0), FeatureEdit(other, 1, 7, "scale", -1.0), FeatureEdit(one, 1, 9)]
    deltas = 5 - one.encode(x)[:, 4], -2 * other.encode(x)[:, 7], -one.encode(x)[:, 9]
    rows = one.W_dec[4], other.W_dec[7], one.W_dec[9]
    expected = x + sum(delta[:, None] * row for delta, row in zip(deltas, rows))
    torch.testing.assert_close(edited(x, edits), expected, rtol=1e-5, atol=5e-5)
    torch.testing.assert_close(edited(x, edits[::-1]), edited(x, edits), rtol=1e-5, atol=5e-5)


def test_amounts_are_in_activations_norms_of_the_residual_or_largest_activations(x):
    sae = random_sae()
    moved = edited(x, [FeatureEdit(sae, 1, 4, "add", 0.5, "norm")]) - x
    torch.testing.assert_close(moved.norm(dim=1), 0.5 * x.norm(dim=1))
    expected = edited(x, [FeatureEdit(sae, 1, 4, "to", 6.0)])
    torch.testing.assert_close(edited(x, [FeatureEdit(sae, 1, 4, "to", 1.5, "maximum", 4.0)]), expected)


def test_a_control_moves_as_far_along_another_direction(x):
    edit = FeatureEdit(random_sae(), 1, 4, "to", 6.0)
    own, other = edited(x, [edit]) - x, edited(x, [edit.along(np.arange(1.0, D + 1))]) - x
    torch.testing.assert_close(own.norm(dim=1), other.norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity(other, torch.arange(1.0, D + 1)[None], dim=1).abs()
    torch.testing.assert_close(cosine, torch.ones(20))


def test_half_precision_is_rounded_once(x):
    half, edit = x.bfloat16(), FeatureEdit(random_sae(), 1, 4, "add", 0.01)
    assert torch.equal(edited(half, [edit]), edited(half.float(), [edit]).bfloat16())


@pytest.mark.parametrize("part", ["all", "prompt", "generated"])
def test_in_the_model_exactly_the_named_tokens_move_by_exactly_the_rule(model, prompts, part):
    sae = random_sae()
    tokens = EditedTokens(prompts, SPECIAL, part)
    longer = [np.append(ids, [40, 41, 42]) for ids in prompts]
    numbers = range(len(prompts))
    edits = placed_edits([FeatureEdit(sae, 1, 4, "to", 9.0)], tokens)
    plain, moved = (prompt_pass(model, longer, numbers, e, read=[1]).run.residuals[1] for e in ([], edits))
    for i, ids in enumerate(prompts):
        behind = np.arange(len(longer[i])) >= len(ids)
        allowed = ~np.isin(longer[i], SPECIAL) & (np.arange(len(longer[i])) > 0)
        allowed &= {"all": True, "prompt": ~behind, "generated": behind}[part]
        own = plain[i, : len(longer[i])]
        expected = (9 - sae.encode(own)[:, 4])[:, None] * sae.W_dec[4] * torch.tensor(allowed)[:, None]
        torch.testing.assert_close(moved[i, : len(own)] - own, expected, rtol=1e-5, atol=5e-5)
        assert torch.equal(moved[i, : len(own)][~allowed], own[~allowed])


def generated(model: LanguageModel, prompts: list[np.ndarray], edits: list[GenerationEdit], cache: bool):
    return generate(model, prompts, Decoding(max_new_tokens=7, n_samples=2, cache=cache, seed=3), edits)


@pytest.mark.parametrize("part", ["all", "prompt", "generated"])
def test_steered_text_and_its_log_probability_are_equal_with_and_without_a_cache(model, prompts, part):
    features = [FeatureEdit(random_sae(), 1, 4, "to", 20.0), FeatureEdit(random_sae(seed=5), 2, 9, "add", 0.3, "norm")]
    edits = placed_edits(features, EditedTokens(prompts, SPECIAL, part))
    cached, whole = (generated(model, prompts, edits, cache) for cache in (True, False))
    plain = generated(model, prompts, [], True)
    for one, other in zip(cached, whole, strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
    assert any(a.token_ids.tolist() != b.token_ids.tolist() for a, b in zip(cached, plain))


def test_without_an_edited_token_the_text_is_the_unedited_one(model):
    ids = [np.array([50])]
    edits = placed_edits([FeatureEdit(random_sae(), 1, 4, "to", 20.0)], EditedTokens(ids, part="prompt"))
    (edited_one, *_), (plain, *_) = generated(model, ids, edits, True), generated(model, ids, [], True)
    assert edited_one.token_ids.tolist() == plain.token_ids.tolist()


@pytest.mark.parametrize("kind", ["an exception inside", "another width", "not finite", "no such layer"])
def test_a_failed_edit_leaves_the_model_bit_equal_and_without_hooks(model, prompts, kind):
    before = model.token_losses(*pad(prompts))
    tokens = EditedTokens(prompts)
    narrow = SparseAutoencoder("standard", torch.eye(8), torch.zeros(8), torch.eye(8), torch.zeros(8))
    edit = {
        "an exception inside": FeatureEdit(random_sae(), 1, 4),
        "another width": FeatureEdit(narrow, 1, 4),
        "not finite": FeatureEdit(random_sae(), 1, 4, "to", 1e38, "norm"),
        "no such layer": FeatureEdit(random_sae(), 9, 4),
    }[kind]
    edits = placed_edits([edit], tokens)
    if kind == "an exception inside":
        edits.append(GenerationEdit(2, lambda value, rows, positions: 1 // 0))  # type: ignore[arg-type]
    with pytest.raises((ZeroDivisionError, SAEError, NonFiniteError, LayerError)):
        generate(model, prompts, Decoding(max_new_tokens=3), edits)
    assert torch.equal(model.token_losses(*pad(prompts)), before)
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    assert not any(getattr(module, name) for module in model.module.modules() for name in hooks)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"feature_id": 48}, "use features 0 to 47"),
        ({"how": "clamp"}, "to, add, scale, ablate"),
        ({"unit": "sigma"}, "activation, norm, maximum"),
        ({"amount": float("nan")}, "finite"),
        ({"how": "ablate", "amount": 2.0}, "leave the amount out"),
        ({"how": "scale", "unit": "norm"}, "leave the unit out"),
        ({"unit": "maximum"}, "largest activation is not known"),
        ({"unit": "maximum", "maximum": 0.0}, "largest activation is not known"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(own, words):
    with pytest.raises((SAEError, SettingsError), match=words):
        FeatureEdit(**{"sae": random_sae(), "layer": 1, "feature_id": 4} | own)


def test_a_feature_without_direction_twice_or_of_two_sites_is_refused():
    sae, tokens = random_sae(), EditedTokens([np.arange(3, 9)])
    sae.W_dec[5] = 0
    with pytest.raises(SAEError, match="decoder row is 0"):
        FeatureEdit(sae, 1, 5)
    with pytest.raises(SettingsError, match="edited twice"):
        placed_edits([FeatureEdit(sae, 1, 4), FeatureEdit(sae, 1, 4, "add", 1.0)], tokens)
    with pytest.raises(SettingsError, match="mlp_out and resid_post"):
        placed_edits([FeatureEdit(sae, 1, 4), FeatureEdit(sae, 1, 4, site="mlp_out")], tokens)
    with pytest.raises(SettingsError, match="all, prompt, generated"):
        EditedTokens([np.arange(3)], part="entity")
