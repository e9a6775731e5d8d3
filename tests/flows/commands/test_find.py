"""``ato find``: its rows are those of a plain search, its mistakes are one line, and a second run does nothing."""

import json

import pytest

from ato.features.concept_texts import phrase_texts
from ato.features.search import SearchSettings, find_features
from ato.features.text_activations import SearchedSAE
from ato.models import load_model
from tests.tasks.scored_study import random_sae
from warehouse.catalog.catalog import rows
from warehouse.quality.checks import check_all, failures
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow


def test_rows_are_those_of_a_plain_search_and_a_second_run_computes_nothing(steered, steering_root, monkeypatch):
    done = steered("find", "Golden Gate", "--top", "4", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("[") :])
    model = load_model(steering_root / "model", dtype="float32")
    keys = {row["layer"]: row["sae"] for row in rows(None, "select sae, layer from saes")}
    saes = [SearchedSAE(keys[layer], layer, random_sae(layer)) for layer in (2, 3)]
    expected = find_features(model, saes, phrase_texts("Golden Gate"), SearchSettings(n_found=4))
    assert [(row["sae"], row["feature_id"]) for row in found] == [(one.sae, one.feature_id) for one in expected.found]
    for row, one in zip(found, expected.found):
        assert row["auroc"] == pytest.approx(one.auroc.value)
        assert row["auroc_own_words"] == pytest.approx(one.auroc_own_words)
    assert {row["null_auroc_high"] for row in found} == {expected.null_high}
    assert failures(check_all(Warehouse())) == []
    monkeypatch.setattr("tasks.steering.find.language_model", lambda _: pytest.fail("nothing is left to search"))
    again = steered("find", "Golden Gate", "--top", "4")
    assert "Features of 'Golden Gate'" in again.output
    assert "of 24 searches for other phrases" in again.output


def test_every_option_is_in_the_key(steered, monkeypatch):
    keys = []
    monkeypatch.setattr("tasks.steering.find.Stage.skip", lambda stage: keys.append(stage.key) or True)
    changes = ((), ("--top", "3"), ("--tokens", "elsewhere"), ("--reduce", "mean"), ("--seed", "5"), ("--layer", "2"))
    for change in (*changes, ()):
        steered("find", "Golden Gate", *change)
    assert len(keys) == len(changes) + 1
    assert len(set(keys)) == len(changes)


def test_texts_of_a_user_come_from_lines_or_jsonl_and_an_sae_from_a_folder(steered, tmp_path):
    (tmp_path / "with.txt").write_text("\n\n".join(f"the union of {i} states" for i in range(6)))
    lines = (json.dumps({"text": f"peace and trade {i}"}) for i in range(7))
    (tmp_path / "without.jsonl").write_text("\n".join(lines))
    files = "--with", str(tmp_path / "with.txt"), "--without", str(tmp_path / "without.jsonl")
    done = steered("find", "union", *files, "--sae", "FOLDER/own_sae", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("[") :])
    assert {(row["layer"], row["origin"], row["null_kind"]) for row in found} == {(1, "files", "permuted labels")}
    assert {(row["n_with"], row["n_without"], row["n_with_chosen"]) for row in found} == {(3, 3, 3)}
    assert all(row["sae"].startswith("own_sae-") and row["share_on_phrase"] is not None for row in found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("  ",), "the phrase is empty"),
        (("x", "--layer", "1"), "choose from layers 2, 3"),
        (("x", "--sae", "nonesuch"), "no SAE 'nonesuch'"),
        (("x", "--sae", "FOLDER/sae_of_nowhere"), "which layer and site"),
        (("x", "--sae", "FOLDER/narrow_sae"), "width 8"),
        (("x", "--with", "FOLDER/none.txt"), "cannot be read"),
        (("x", "--with", "FOLDER/tiny.yaml"), "0 texts without"),
        (("x", "--collection", "nonesuch"), "no collection 'nonesuch'"),
        (("x", "--top", "0"), "use 1 or more"),
    ],
)
def test_a_mistake_is_one_line(steered, arguments, words):
    done = steered("find", *arguments)
    assert done.exit_code != 0
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
