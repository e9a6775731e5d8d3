"""A text read by one feature: each token's activation is that of a plain forward pass; special tokens and the first have none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ato.errors import InputError, MismatchError
from ato.features.text_activations import SearchedSAE
from ato.features.text_reading import read_text
from ato.models import load_model
from ato.operators.operator import TransportOperator
from tests.tasks.scored_study import random_sae
from tests.tiny_models import save_tiny_model

LAYER = 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama"), "llama"), dtype="float32")


@pytest.fixture(scope="module")
def sae(model):
    return SearchedSAE("random", LAYER, random_sae(1, d=model.d_model))


@torch.no_grad()
def plain(model, sae, ids):
    """[t, d_sae] activations by way of the library's own hidden states."""
    hidden = model.module(torch.tensor([ids]), output_hidden_states=True).hidden_states[LAYER + 1][0]
    return sae.sae.encode(hidden)


@pytest.mark.parametrize("bos", [False, True])
def test_activations_are_those_of_a_plain_pass(model, sae, bos):
    text = "The Union army."
    ids = [1] * bos + model.tokenizer(text, add_special_tokens=False)["input_ids"]
    expected = plain(model, sae, ids)
    for feature in (0, 1, 2):
        found = read_text(model, sae, feature, text, prepend_bos=bos)
        assert found.activations[0] is None
        assert list(found.activations[1:]) == pytest.approx(expected[1:, feature].tolist(), abs=1e-4)
        assert found.largest == pytest.approx(float(expected[1:, feature].max()), abs=1e-4)
        assert "".join(found.tokens).endswith(text)
        assert found.n_cut == 0


def test_a_feature_that_never_fires_is_silent_and_not_missing(model, sae):
    found = read_text(model, sae, 3, "abc")
    assert found.activations == (None, 0.0, 0.0)
    assert found.largest == 0


def test_a_long_text_is_cut_and_says_by_how_much(model, sae):
    found = read_text(model, sae, 0, "abcdefgh", max_tokens=5)
    assert (len(found.tokens), found.n_cut) == (5, 3)
    whole = read_text(model, sae, 0, "abcdefgh")
    assert found.activations[1:] == pytest.approx(whole.activations[1:5], abs=1e-5), "what comes later changes nothing"


def test_characters_of_several_tokens_stand_whole(model, sae):
    found = read_text(model, sae, 0, "aé日")
    assert found.tokens == ("a", "é", "", "日", "", "")
    assert None not in found.activations[1:]


@pytest.mark.parametrize(
    ("feature", "text", "line"),
    [
        (24, "abc", "no feature 24"),
        (-1, "abc", "no feature -1"),
        (0, " \n", "the text is empty"),
        (0, "a", "no token but the first"),
    ],
)
def test_mistakes_are_one_line(model, sae, feature, text, line):
    with pytest.raises(InputError, match=line) as caught:
        read_text(model, sae, feature, text)
    assert "\n" not in str(caught.value)


def test_losses_are_those_of_a_plain_pass_on_the_token_that_follows(model, sae):
    text = "The Union army."
    ids = torch.tensor(model.tokenizer(text, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        log_p = model.module(ids[None]).logits[0].log_softmax(-1)
    expected = (-log_p[:-1].gather(1, ids[1:, None])[:, 0]).tolist()
    found = read_text(model, sae, 0, text)
    assert found.losses[-1] is None, "nothing is known of what follows"
    assert list(found.losses[:-1]) == pytest.approx(expected, abs=1e-4)


def test_other_features_of_a_token_are_those_of_plain_encoding(model, sae):
    text = "The Union"
    dense = plain(model, sae, model.tokenizer(text, add_special_tokens=False)["input_ids"])
    found = read_text(model, sae, 0, text)
    assert found.features[0] is None
    for token, own in enumerate(found.features[1:], 1):
        assert sorted(own.features) == torch.nonzero(dense[token])[:, 0].tolist()
        assert list(own.activations) == pytest.approx(dense[token, list(own.features)].tolist(), abs=1e-4)


@torch.no_grad()
def test_the_predicted_activation_is_that_of_the_operator_by_hand(model, sae):
    rng, text = np.random.default_rng(7), "The Union army."
    d = model.d_model
    operator = TransportOperator(
        np.eye(d) + rng.normal(size=(d, d)) / 20,
        rng.normal(size=d) / 20,
        "ridge",
        source_layer=0,
        target_layer=LAYER,
        weights_hash=model.identity.weights_hash,
    )
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    source = model.module(torch.tensor([ids]), output_hidden_states=True).hidden_states[1][0].double().numpy()
    by_hand = sae.sae.encode(torch.from_numpy(source @ operator.matrix.T + operator.bias).float())
    for feature in (0, 1):
        found = read_text(model, sae, feature, text, operator=operator)
        assert found.predicted[0] is None
        assert list(found.predicted[1:]) == pytest.approx(by_hand[1:, feature].tolist(), abs=1e-4)
        fires = [(here, there) for here, there in zip(found.activations[1:], found.predicted[1:]) if here]
        assert [value for value in found.transported if value is not None] == [there > 0 for _, there in fires]
    with pytest.raises(MismatchError, match="fitted on another model"):
        read_text(model, sae, 0, text, operator=replace(operator, weights_hash="other"))
    with pytest.raises(MismatchError, match="operator of 0 -> 2 used for 0 -> 1"):
        read_text(model, sae, 0, text, operator=replace(operator, target_layer=2))


def test_special_tokens_are_read_when_that_is_asked_for(model, sae):
    dense = plain(model, sae, [1, *model.tokenizer("ab", add_special_tokens=False)["input_ids"]])
    found = read_text(model, sae, 1, "ab", prepend_bos=True, special_tokens=True)
    assert found.special == (True, False, False)
    assert list(found.activations) == pytest.approx(dense[:, 1].tolist(), abs=1e-4)
    assert read_text(model, sae, 1, "ab", prepend_bos=True).activations[0] is None
