"""A sentence of one's own on the page of a feature, token by token; a model that is large or another is refused."""

import json
import shlex

import numpy as np
import pytest

from ato.causal.feature_edits import FeatureEdit
from ato.causal.steered import steer
from ato.errors import MismatchError, UnavailableError
from ato.features.text_activations import SearchedSAE
from ato.features.text_reading import read_text
from ato.models import load_model
from ato.models.generation import Decoding
from ato.text.token_texts import TokenTexts
from dashboards.ui import loaded
from dashboards.ui.windows import coloured
from dashboards.views.features import own_text
from dashboards.views.features.continued_text import NEW_TOKENS
from tests.dashboards.opened_pages import messages, open_page
from tests.dashboards.planted_texts import FEATURE, LAYER
from tests.dashboards.planted_texts import SAE as PLANTED
from tests.dashboards.views.features.opened_feature import open_feature
from tests.tasks.reported_study import SAES
from tests.tasks.scored_study import random_sae
from tests.tiny_models import save_tiny_model

TEXT = "Is <b>it</b> here?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), "gpt2", n_layers=8)


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder, dtype="float32", device="cpu")


@pytest.fixture
def tiny(model, monkeypatch):
    """The page's model and SAE are tiny ones."""
    monkeypatch.setattr(own_text, "small_model", lambda *_: model)
    monkeypatch.setattr(own_text, "stored_sae", lambda *_: random_sae(1, d=model.d_model))
    monkeypatch.setattr(own_text, "stored_operator", lambda *_: None)


def pieces(app):
    (view,) = [json.loads(one.proto.json) for one in app.get("bidi_component")]
    return view["pieces"]


def test_a_sentence_is_coloured_where_the_feature_fires(study, tiny, model):
    app = open_feature(5, sae=SAES[4], sentence=TEXT)
    assert not app.error
    expected = read_text(model, SearchedSAE("random", 4, random_sae(1, d=model.d_model)), 5, TEXT)
    fires = [value for value in expected.activations if value]
    assert fires
    shown = pieces(app)
    assert "".join(piece["text"] for piece in shown) == TEXT
    assert [bool(piece["colours"]) for piece in shown] == [bool(value) for value in expected.activations]
    for piece, loss in zip(shown[:-1], expected.losses):
        assert f"loss on the next token (nats): {loss:.3f}" in piece["title"]
    said = f"Fires on {len(fires)} of {len(TEXT) - 1} tokens, at most {max(fires):.3f}"
    assert any(caption.value.startswith(said) for caption in app.caption)
    assert any(text.value == f"ato activations --feature {SAES[4]}/5 '{TEXT}'" for text in app.text)


def test_the_command_for_a_sentence_that_begins_with_a_dash_does_not_take_it_for_an_option(study, tiny):
    app = open_feature(5, sae=SAES[4], sentence="- it")
    assert any(text.value == f"ato activations --feature {SAES[4]}/5 -- '- it'" for text in app.text)


def test_transport_of_each_active_token_stands_beside_its_activation(planted):
    sentence = "The Union army and the café"
    app = open_page("features", sae=PLANTED, feature_id=FEATURE, sentence=sentence)
    assert not app.error
    sae = SearchedSAE("random", LAYER, planted.sae)
    expected = read_text(planted.model, sae, FEATURE, sentence, operator=planted.operator)
    table = next(one.value for one in app.dataframe if "transported" in one.value.columns)
    fires = [i for i, value in enumerate(expected.activations) if value]
    assert fires
    assert table["position"].to_list() == fires
    for name, values in (
        ("activation", expected.activations),
        ("predicted", expected.predicted),
        ("loss", expected.losses),
    ):
        known = [(there, values[i]) for i, there in zip(fires, table[name]) if values[i] is not None]
        assert len(known) >= len(fires) - 1, "only the last token has no loss"
        assert [there for there, _ in known] == pytest.approx([value for _, value in known], abs=1e-4)
    assert table["transported"].to_list() == [expected.predicted[i] > 0 for i in fires]
    n = sum(expected.predicted[i] > 0 for i in fires)
    assert any(
        f"On {n} of these it is transported: it fires on what the operator ridge" in one.value for one in app.caption
    )
    for piece, of in zip([one for one in pieces(app)[1:] if one["details"]], [one for one in expected.features if one]):
        assert next(row[:2] for row in piece["details"][0]["rows"]) == [
            of.features[0],
            pytest.approx(of.activations[0]),
        ]


def test_the_sentence_is_continued_with_the_feature_held_at_a_value_beside_the_unedited_text(planted):
    app = open_page("features", sae=PLANTED, feature_id=FEATURE, sentence="It's here", steer_to="40")
    assert not app.error
    ids = np.array(planted.model.tokenizer("It's here", add_special_tokens=False)["input_ids"])
    edit = FeatureEdit(planted.sae, LAYER, FEATURE, "to", 40.0)
    (expected,) = steer(planted.model, [ids], [edit], Decoding(max_new_tokens=NEW_TOKENS))
    assert expected.edited.text != expected.unedited.text
    largest = max(reading.before.max() for reading in expected.readings)
    for is_edited, one in enumerate((expected.unedited, expected.edited)):
        (before,) = (reading.before for reading in expected.readings if reading.of_edited == is_edited)
        tokens = TokenTexts(planted.model.tokenizer).of(one.token_ids)
        assert coloured(tokens, before[-len(tokens) :].tolist(), largest) in [
            html.proto.body for html in app.get("html")
        ]
    said = [caption.value for caption in app.caption]
    assert (
        f"log p per token {expected.edited.log_p:.2f}, in the unedited model {expected.edited.log_p_other:.2f}" in said
    )
    assert any(f"{expected.kl_prompt:.3f} nats on the sentence, {expected.kl_continuation:.3f}" in one for one in said)
    assert f"ato steer --feature {PLANTED}/{FEATURE} --to 40 --prompt 'It'\"'\"'s here'" in [
        one.value for one in app.text
    ]


def test_a_sentence_that_would_be_cut_is_not_continued(planted):
    app = open_page("features", sae=PLANTED, feature_id=FEATURE, sentence="x " * 200, steer_to="40")
    assert [text for text in messages(app) if "shorten it" in text] == [
        "the sentence has 399 tokens: shorten it to 256, or use the command"
    ]


@pytest.mark.parametrize("value", ["", "much", "inf"])
def test_without_a_number_nothing_is_continued_and_the_command_names_the_largest_activation(planted, value):
    app = open_page("features", sae=PLANTED, feature_id=FEATURE, sentence="It's here", steer_to=value)
    (command,) = [one.value for one in app.text if one.value.startswith("ato steer")]
    words = shlex.split(command)
    assert words[words.index("--prompt") + 1] == "It's here"
    assert words[words.index("--feature") + 1] == f"{PLANTED}/{FEATURE}"
    assert float(words[words.index("--to") + 1]) > 0
    assert [text for text in messages(app) if "is not a number" in text] == [
        f"'{value}' is not a number: write one such as 12.5."
    ] * bool(value)


def test_a_model_that_is_not_there_is_one_line_and_the_command_stays(study):
    app = open_feature(5, sae=SAES[4], sentence="Is it here?")
    assert not app.error
    assert any("the model is not on this machine" in text and "\n" not in text for text in messages(app))
    assert any(text.value.startswith("ato activations") for text in app.text)


def test_a_sentence_that_says_nothing_is_one_line(study, tiny):
    assert any("no token but the first" in text for text in messages(open_feature(5, sae=SAES[4], sentence="a")))


def test_another_model_of_the_same_name_and_a_large_one_are_refused(folder, monkeypatch):
    with pytest.raises(MismatchError, match="has other weights now"):
        loaded.small_model(str(folder), None, "0" * 16)
    monkeypatch.setattr(loaded, "LARGEST", 10)
    with pytest.raises(UnavailableError, match="too many for a page"):
        loaded.small_model(str(folder), None, "1" * 16)


def test_the_model_of_the_collection_is_loaded_once(folder, model):
    found = loaded.small_model(str(folder), None, model.identity.weights_hash)
    assert loaded.small_model(str(folder), None, model.identity.weights_hash) is found
    loaded.small_model.clear()
