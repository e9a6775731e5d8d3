"""A steered text stands beside the unedited one with numbers that plain passes give too."""

import numpy as np
import pytest
import torch

from ato.causal.feature_edits import EditedTokens, FeatureEdit, placed_edits
from ato.causal.steered import repetition, steer, text_cost
from ato.errors import SAEError, SettingsError
from ato.models import LanguageModel, load_model, pad
from ato.models.generation import Decoding, generate
from ato.models.prompt_pass import prompt_pass
from ato.saes import SparseAutoencoder
from tests.ato.causal.test_feature_edits import random_sae
from tests.tiny_models import save_tiny_model

DECODING = Decoding(max_new_tokens=8, n_samples=1, seed=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama")), dtype="float32")


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, 259, n) for n in (9, 1)]


@pytest.fixture(scope="module")
def edits() -> list[FeatureEdit]:
    return [FeatureEdit(random_sae(), 1, 4, "to", 12.0), FeatureEdit(random_sae(seed=2), 2, 7, "add", 0.3, "norm")]


@pytest.fixture(scope="module")
def found(model, prompts, edits):
    return steer(model, prompts, edits, DECODING)


def log_p(model: LanguageModel, ids: np.ndarray, changes: list) -> torch.Tensor:
    """[t-1, vocabulary] of one text, float64."""
    return model.logits(prompt_pass(model, [ids], [0], changes).run.hidden[0][:-1]).double().log_softmax(1)


def test_both_texts_are_those_of_plain_generation(model, prompts, edits, found):
    assert [(one.prompt, one.sample) for one in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    placed = placed_edits(edits, EditedTokens(prompts, model.special_token_ids))
    for which, changes in (("unedited", []), ("edited", placed)):
        for one, expected in zip(found, generate(model, prompts, DECODING, changes)):
            own = getattr(one, which)
            assert own.token_ids.tolist()[:8] == expected.token_ids.tolist()[: len(own.token_ids)]
            total = own.log_p * len(own.token_ids)
            if len(own.token_ids) == len(expected.token_ids):
                assert total == pytest.approx(expected.log_probability, abs=1e-3)
    assert any(one.edited.text != one.unedited.text for one in found)


def test_kl_and_log_probabilities_are_those_of_the_two_distributions(model, prompts, edits, found):
    one = found[0]
    start = len(prompts[0])
    placed = placed_edits(edits, EditedTokens([prompts[0]], model.special_token_ids))
    ids = [np.concatenate([prompts[0], text.token_ids]) for text in (one.unedited, one.edited)]
    p, q = log_p(model, ids[0], []), log_p(model, ids[0], placed)
    kl = (p.exp() * (p - q)).sum(1).numpy()
    assert one.kl_prompt == pytest.approx(kl[: start - 1].mean(), rel=1e-3)
    assert one.kl_continuation == pytest.approx(kl[start - 1 :].mean(), rel=1e-3)
    for text, whole, (own, other) in (
        (one.unedited, ids[0], (p, q)),
        (one.edited, ids[1], (log_p(model, ids[1], placed), log_p(model, ids[1], []))),
    ):
        chosen = torch.tensor(whole[1:])[:, None]
        assert text.log_p == pytest.approx(float(own.gather(1, chosen)[start - 1 :].mean()), rel=1e-3)
        assert text.log_p_other == pytest.approx(float(other.gather(1, chosen)[start - 1 :].mean()), rel=1e-3)
    assert found[2].kl_prompt is None
    assert found[2].kl_continuation > 0


def test_readings_are_the_encoders_before_and_behind_each_edit(model, prompts, edits, found):
    unedited, edited_text = found[0].readings[:2], found[0].readings[2:]
    ids = unedited[0].token_ids
    residuals = model.residuals(*pad([ids]), [1, 2])
    for reading, edit in zip(unedited, edits):
        expected = edit.sae.encode(residuals[edit.layer][0])[:, edit.feature_id]
        np.testing.assert_allclose(reading.before, expected.numpy(), rtol=1e-4, atol=1e-4)
        assert reading.after is None
        assert not reading.is_edited.any()
    ids = edited_text[0].token_ids
    x = model.residuals(*pad([ids]), [1])[1][0]
    sae, feature = edits[0].sae, edits[0].feature_id
    a = sae.encode(x)[:, feature]
    np.testing.assert_allclose(edited_text[0].before, a.numpy(), rtol=1e-4, atol=1e-4)
    moved = x + ((12 - a)[:, None] * sae.W_dec[feature]) * torch.tensor(edited_text[0].is_edited)[:, None]
    np.testing.assert_allclose(edited_text[0].after, sae.encode(moved)[:, feature].numpy(), rtol=1e-3, atol=1e-3)
    assert edited_text[0].is_edited.tolist() == [False] + [True] * (len(ids) - 1)
    # The second edit's layer is above the first: what arrives there has the first edit in it.
    plain = edits[1].sae.encode(model.residuals(*pad([ids]), [2])[2][0])[:, 7].numpy()
    assert np.abs(edited_text[1].before - plain).max() > 1e-2


def test_an_edit_by_nothing_changes_nothing(model, prompts):
    (one, *_) = steer(model, prompts[:1], [FeatureEdit(random_sae(), 1, 4, "scale", 1.0)], DECODING)
    assert one.edited.text == one.unedited.text
    assert one.kl_continuation == pytest.approx(0, abs=1e-6)
    assert one.edited.log_p == pytest.approx(one.edited.log_p_other, abs=1e-6)


def test_a_planted_feature_says_its_token(model):
    """A feature whose decoder row is the unembedding of one token makes the model say it, over and over."""
    token = 77
    row = model.parts.head.weight[token].detach().clone()
    sae = SparseAutoencoder("standard", row[:, None], torch.zeros(1), row[None] / row.norm(), torch.zeros(32))
    (one,) = steer(model, [np.arange(40, 50)], [FeatureEdit(sae, 3, 0, "add", 50.0, "norm")], Decoding(8))
    assert one.edited.token_ids.tolist() == [token] * 8
    assert one.edited.repetition == pytest.approx(0.8)
    assert one.unedited.token_ids.tolist() != [token] * 8


@pytest.mark.parametrize(("ids", "expected"), [([1, 2, 3], None), ([1, 2, 3, 4], 0.0), ([5] * 8, 0.8), ([], None)])
def test_repetition_is_the_share_of_four_tokens_that_came_before(ids, expected):
    assert repetition(np.array(ids)) == (None if expected is None else pytest.approx(expected))


def test_the_cost_on_text_is_weighted_by_tokens_with_an_interval_by_document(model, edits):
    rng = np.random.default_rng(1)
    sequences = [rng.integers(3, 259, n) for n in (12, 7, 20, 5, 9, 9, 16)]
    documents = ["a", "a", "b", "c", "d", "e", "f"]
    cost = text_cost(model, sequences, documents, edits, n_random=2, seed=4)
    assert (cost.n_sequences, cost.n_tokens, cost.n_documents) == (7, 78, 6)
    total = 0.0
    for ids in sequences:
        placed = placed_edits(edits, EditedTokens([ids], model.special_token_ids))
        p, q = (
            model.logits(prompt_pass(model, [ids], [0], changes).run.hidden[0]).double().log_softmax(1)
            for changes in ([], placed)
        )
        total += float((p.exp() * (p - q)).sum())
    assert cost.kl.value == pytest.approx(total / 78, rel=1e-3)
    assert cost.kl.low < cost.kl.value < cost.kl.high
    assert (cost.random > 0).all()
    assert np.array_equal(cost.random, text_cost(model, sequences, documents, edits, n_random=2, seed=4).random)
    nothing = text_cost(model, [], [], edits, n_random=2)
    assert (nothing.kl.value, nothing.n_tokens) == (None, 0)
    assert np.isnan(nothing.random).all()
    with pytest.raises(SettingsError, match="one each"):
        text_cost(model, sequences, documents[1:], edits)


def test_nothing_to_edit_and_an_sae_of_another_width_are_refused(model, prompts):
    with pytest.raises(SettingsError, match="no feature to edit"):
        steer(model, prompts, [], DECODING)
    sae = random_sae()
    with pytest.raises(SettingsError, match="edited twice"):
        steer(model, prompts, [FeatureEdit(sae, 1, 4), FeatureEdit(sae, 1, 4, "add", 1.0)], DECODING)
    narrow = SparseAutoencoder("standard", torch.eye(8), torch.zeros(8), torch.eye(8), torch.zeros(8))
    with pytest.raises(SAEError, match="width 32"):
        steer(model, prompts, [FeatureEdit(narrow, 1, 4)], DECODING)
