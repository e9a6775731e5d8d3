"""``ato steer``: its rows are those of plain generation, its texts stand side by side, its mistakes are one line."""

import json

import numpy as np
import pytest

from ato.causal.feature_edits import FeatureEdit
from ato.causal.steered import steer
from ato.models import load_model
from ato.models.generation import Decoding
from tests.tasks.scored_study import random_sae
from warehouse.catalog.catalog import rows
from warehouse.quality.checks import check_all, failures
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import steering

pytestmark = pytest.mark.slow
RUN = ("steer", "--prompt", "the union of states", "--max-new-tokens", "6", "--samples", "1", "--seed", "2")


def test_rows_are_those_of_plain_steering_and_hold_every_rule_of_their_tables(steered, steering_root, monkeypatch):
    features = "--feature", "L2/4", "--feature", "L3/7:add:0.5:norm"
    done = steered(*RUN, *features, "--to", "9", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("{") :])
    model = load_model(steering_root / "model", dtype="float32")
    edits = [FeatureEdit(random_sae(2), 2, 4, "to", 9.0), FeatureEdit(random_sae(3), 3, 7, "add", 0.5, "norm")]
    prompt = np.array(model.tokenizer.encode("the union of states"))
    expected = steer(model, [prompt], edits, Decoding(max_new_tokens=6, n_samples=1, seed=2))
    for row, one in zip(found["runs"], expected, strict=True):
        assert (row["text_unedited"], row["text_edited"]) == (one.unedited.text, one.edited.text)
        assert row["kl_continuation"] == pytest.approx(one.kl_continuation, rel=1e-4)
        assert row["log_p_edited_in_unedited"] == pytest.approx(one.edited.log_p_other, rel=1e-4)
        assert row["feature_ids"] == [4, 7]
        assert row["n_text_documents"] > 5
        assert row["kl_text_low"] < row["kl_text"] < row["kl_text_high"]
        assert row["kl_text_random"] > 0
    read = [row for row in found["readings"] if (row["sample"], row["text"], row["edit"]) == (0, "edited", 0)]
    assert [row["before"] for row in read] == pytest.approx(expected[0].readings[2].before.tolist(), abs=1e-3)
    assert [row["is_edited"] for row in read] == [False] + [True] * (len(read) - 1)
    assert "".join(row["token"] for row in read if not row["is_generated"]) == "the union of states"
    checked = check_all(Warehouse())
    assert failures(checked) == []
    looked_at = {(r["table_name"], r["expectation"]) for r in checked if r["n_checked"]}
    own = [table for table in steering.TABLES if table.name != "feature_finds"]
    assert {(table.name, rule.expectation) for table in own for rule in table.rules} <= looked_at
    monkeypatch.setattr("tasks.steering.steer.language_model", lambda _: pytest.fail("nothing is left to generate"))
    again = steered(*RUN, *features, "--to", "9")
    for words in ("L2/4 to 9, L3/7 add 0.5 norms", "unedited", "sample 1, temperature 1", "Cost on held-out text"):
        assert words in again.output


def test_every_option_is_in_the_key(steered, monkeypatch):
    keys = []
    monkeypatch.setattr("tasks.steering.steer.Stage.skip", lambda stage: keys.append(stage.key) or True)
    base = {"--feature": "L2/4", "--add": "3", "--prompt": "the union", "--max-new-tokens": "2", "--samples": "0"}
    changes = (
        {},
        {"--feature": "L2/5"},
        {"--feature": "L3/4"},
        {"--add": "4"},
        {"--prompt": "the law"},
        {"--max-new-tokens": "3"},
        {"--samples": "1"},
        {"--seed": "1"},
        {"--temperature": "0.5"},
        {"--tokens": "generated"},
        {"--unit": "norm"},
    )
    for change in (*changes, {}):
        steered("steer", *(part for option in (base | change).items() for part in option))
    assert len(keys) == len(changes) + 1
    assert len(set(keys)) == len(changes)


def test_an_ablation_of_a_feature_of_an_sae_in_a_folder(steered):
    done = steered("steer", "--feature", "FOLDER/own_sae/4", "--ablate", "--prompt", "a", "--max-new-tokens", "2")
    assert done.exit_code == 0, done.exception
    assert "L1/4 ablate; tokens: all" in done.output
    (row,) = rows(None, "from steering_runs where list_contains(layers, 1)")
    assert row["kl_prompt"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--feature", "L2/24", "--to", "8"), "use features 0 to 23"),
        (("--feature", "L4/1", "--to", "8"), "choose from layers 2, 3"),
        (("--feature", "345", "--to", "8"), "cannot read the feature '345'"),
        (("--feature", "L2/4:push:3"), "cannot read the feature"),
        (("--feature", "L2/4:to:much"), "cannot read the amount 'much'"),
        (("--feature", "L2/4:to"), "has no amount"),
        (("--feature", "L2/4"), "give --to, --add, --scale or --ablate"),
        (("--feature", "L2/4", "--to", "8", "--ablate"), "--to and --ablate at once"),
        (("--feature", "L2/4", "--to", "1", "--unit", "maximum"), "largest activation is not known"),
        (("--feature", "L2/4", "--feature", "L2/4", "--to", "1"), "edited twice"),
        (("--feature", "L2/4", "--to", "nan"), "finite number"),
        (("--feature", "nonesuch/4", "--to", "1"), "no SAE 'nonesuch'"),
        (("--feature", "FOLDER/narrow_sae/4", "--to", "1"), "width 8"),
        (("--feature", "L2/4", "--to", "1", "--prompt", " "), "an empty prompt"),
        (("--feature", "L2/4", "--to", "1", "--max-new-tokens", "0"), "use 1 or more"),
        (("--feature", "L2/4", "--to", "1", "--max-new-tokens", "600"), "context"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(steered, arguments, words):
    prompt = () if "--prompt" in arguments else ("--prompt", "the union")
    done = steered("steer", *arguments, *prompt)
    assert done.exit_code != 0
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not rows(None, "from steering_runs where max_new_tokens > 40")
