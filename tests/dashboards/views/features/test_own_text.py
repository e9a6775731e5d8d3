"""A sentence of one's own on the page of a feature: coloured where it fires; a model that is large or another is refused."""

import pytest

from ato.errors import MismatchError, UnavailableError
from ato.features.text_activations import SearchedSAE
from ato.features.text_reading import read_text
from ato.models import load_model
from dashboards.views.features import own_text
from tests.dashboards.opened_pages import messages
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
    monkeypatch.setattr(own_text, "_model", lambda *_: model)
    monkeypatch.setattr(own_text, "_sae", lambda *_: random_sae(1, d=model.d_model))


def sentences(app):
    return [
        block.proto.body for block in app.get("html") if "it" in block.proto.body and "hover" not in block.proto.body
    ]


def test_a_sentence_is_coloured_where_the_feature_fires(study, tiny, model):
    app = open_feature(5, sae=SAES[4], sentence=TEXT)
    assert not app.error
    expected = read_text(model, SearchedSAE("random", 4, random_sae(1, d=model.d_model)), 5, TEXT)
    fires = [value for value in expected.activations if value]
    assert fires
    (shown,) = [text for text in sentences(app) if "&lt;" in text and "pre-wrap" in text and "?" in text]
    assert shown.count("background-color") == len(fires)
    assert f'title="{max(fires):.3f}"' in shown
    assert "<b>" not in shown
    said = f"Fires on {len(fires)} of {len(TEXT) - 1} tokens, at most {max(fires):.3f}"
    assert any(caption.value.startswith(said) for caption in app.caption)
    assert any(code.value == f"ato activations '{TEXT}' --feature {SAES[4]}/5" for code in app.code)


def test_a_model_that_is_not_there_is_one_line_and_the_command_stays(study):
    app = open_feature(5, sae=SAES[4], sentence="Is it here?")
    assert not app.error
    assert any("the model is not on this machine" in text and "\n" not in text for text in messages(app))
    assert any(code.value.startswith("ato activations") for code in app.code)


def test_a_sentence_that_says_nothing_is_one_line(study, tiny):
    assert any("no token but the first" in text for text in messages(open_feature(5, sae=SAES[4], sentence="a")))


def test_another_model_of_the_same_name_and_a_large_one_are_refused(folder, monkeypatch):
    with pytest.raises(MismatchError, match="has other weights now"):
        own_text._model(str(folder), None, "0" * 16)
    monkeypatch.setattr(own_text, "LARGEST", 10)
    with pytest.raises(UnavailableError, match="too many for a page"):
        own_text._model(str(folder), None, "1" * 16)


def test_the_model_of_the_collection_is_loaded_once(folder, model):
    found = own_text._model(str(folder), None, model.identity.weights_hash)
    assert own_text._model(str(folder), None, model.identity.weights_hash) is found
    own_text._model.clear()
