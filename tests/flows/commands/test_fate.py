"""``ato fate``: the life of a planted feature, how often views agree, and mistakes in one line."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli import app
from tests.tasks.reported_study import N_FEATURES, PAIRS, SAES, build_study
from tests.warehouse.fate_rows import ABLATED, DIED, write_fates


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A small study with fates, the warehouse of the environment meanwhile."""
    warehouse = build_study(tmp_path_factory.mktemp("fates"))
    write_fates(warehouse, SAES, N_FEATURES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(warehouse.root))
        yield warehouse


def fate(*words: str):
    return CliRunner().invoke(app, ["fate", *words])


def found(*words: str) -> dict:
    done = fate(*words, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_life_is_told_layer_by_layer_with_what_the_views_say(study):
    shown = fate("L6/5")
    assert shown.exit_code == 0, shown.output
    assert f"Feature 5 of {SAES[6]}" in shown.output
    assert "From layer 4 views disagree" in shown.output
    life = found(f"{SAES[6]}/5")
    assert [(row["layer"], row["fate"]) for row in life["life"]] == [(4, "undetermined"), (6, "home")]
    assert len(life["views"]) == 5
    assert life["views"][3]["agreement"] == pytest.approx(0.9 - 0.2 * 5)


def test_a_feature_that_the_later_layer_lacks_has_died(study):
    assert [row["fate"] for row in found(f"L4/{DIED}")["life"]] == ["home", "died"]


def test_several_lives_are_told_and_drawn_from_the_tables(study, tmp_path):
    file = tmp_path / "lives.png"
    shown = fate("L6/5", f"L4/{DIED}", "--picture", str(file))
    assert shown.exit_code == 0, shown.output
    assert all(f"Feature {number} of" in shown.output for number in (5, DIED))
    assert file.read_bytes().startswith(b"\x89PNG")
    assert [life["feature_id"] for life in found("L6/5", f"L4/{DIED}")] == [5, DIED]
    none = fate("--picture", str(tmp_path / "none.png"))
    assert none.exit_code == 1
    assert not (tmp_path / "none.png").exists()


def test_without_a_feature_it_counts_fates_and_agreement(study):
    shown = found()
    assert len(shown["fates"]) == len(PAIRS)
    assert sum(row["features"] for row in shown["fates"]) == N_FEATURES * len(PAIRS)
    assert [row["ablated"] for row in shown["fates"] if (row["source_layer"], row["target_layer"]) == (4, 6)] == [
        len(ABLATED)
    ]
    assert ("ridge", "causal") in {(row["view"], row["against"]) for row in shown["agreement"]}
    told = fate()
    assert told.exit_code == 0
    assert "kappa" in told.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["L6"], "write 12/345, L12/345 or KEY/345"),
        (["5/1"], "layer 5 has no SAE"),
        (["nothing/1"], "no SAE 'nothing'"),
        ([f"L6/{10**6}"], "has no feature"),
    ],
)
def test_mistakes_are_one_line_with_their_cure(study, words, message):
    refused = fate(*words)
    assert refused.exit_code != 0
    assert message in str(refused.exception)
    assert "\n" not in str(refused.exception)


def test_before_the_stage_has_run_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(build_study(tmp_path).root))
    assert "ato run fate" in str(fate().exception)
    assert "ato run fate" in str(fate("L6/1").exception)
