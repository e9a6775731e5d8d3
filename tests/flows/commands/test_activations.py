"""``ato activations``: a feature on a text of one's own, as text and as JSON, and mistakes in one line."""

import json

import pytest

from ato.features.text_activations import SearchedSAE
from ato.features.text_reading import read_text
from ato.models import load_model
from tests.tasks.scored_study import random_sae

pytestmark = pytest.mark.slow

TEXT = "The Union army."


def test_the_tokens_and_activations_are_those_of_the_feature(steered, steering_root):
    done = steered("activations", TEXT, "--feature", "L2/5", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("{") :])
    model = load_model(steering_root / "model", dtype="float32")
    expected = read_text(model, SearchedSAE("random", 2, random_sae(2)), 5, TEXT)
    assert "".join(row["token"] for row in found["tokens"]) == TEXT
    assert [row["activation"] for row in found["tokens"]][1:] == pytest.approx(list(expected.activations[1:]), abs=1e-5)
    assert found["tokens"][0]["activation"] is None
    shown = steered("activations", TEXT, "--feature", "L2/5")
    n = sum(bool(value) for value in expected.activations)
    assert TEXT in shown.output
    assert f"L2/5 fires on {n} of {len(expected.tokens) - 1} tokens" in shown.output


def test_an_sae_in_a_folder_is_read_too(steered):
    done = steered("activations", TEXT, "--feature", "FOLDER/own_sae/3")
    assert "L1/3 fires on 0 of 14 tokens; the first and special tokens are not read" in done.output


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ("5", "cannot read the feature '5'"),
        ("L2/x", "write L12/345"),
        ("L1/5", "no SAE at layer 1"),
        ("L2/99", "use 0 to 23"),
    ],
)
def test_a_mistake_is_one_line(steered, feature, words):
    done = steered("activations", TEXT, "--feature", feature)
    assert done.exit_code != 0
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
