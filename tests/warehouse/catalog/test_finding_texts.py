"""Findings in words: the numbers of their rows, with interval and n, and no interval where there is none."""

import re

import pytest

from tests.dashboards.whole_study import build_whole_study
from tests.warehouse.small_warehouse import COLLECTION
from warehouse.catalog.catalog import rows
from warehouse.catalog.finding_texts import _TEXTS, OF_COLLECTION, findings_of, interval
from warehouse.catalog.marts import mart_texts


def number(value, low=None, high=None, **values):
    """A row of a finding."""
    blank = dict.fromkeys(
        ("source_layer", "target_layer", "subject", "measure", "n", "unit", "threshold", "note", "topic", "page")
    )
    return blank | {"value": value, "low": low, "high": high, "is_headline": True} | values


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Finding -> its sentence, of a study in which everything was looked at."""
    warehouse = build_whole_study(tmp_path_factory.mktemp("whole") / "warehouse")
    return {f.name: f for f in findings_of(rows(warehouse, OF_COLLECTION, {"collection": COLLECTION}))}


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ((0.8123, 0.78, 0.84), "0.81 [0.78, 0.84]"),
        ((0.0142, -0.002, 0.031), "0.014 [-0.002, 0.031]"),
        ((0.0071, 0.0067, 0.0075), "0.0071 [0.0067, 0.0075]"),
        ((0.9382, 0.9366, 0.9389), "0.938 [0.937, 0.939]"),
        ((0.5, None, None), "0.50"),
        ((0.0, None, None), "0.0000"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_needs(given, written):
    assert interval(number(*given)) == written


def test_a_share_is_in_percent_with_its_interval_if_it_has_one():
    assert interval(number(0.412, 0.36, 0.463), percent=True) == "41 % [36, 46]"
    assert interval(number(0.412), percent=True) == "41 %"


def test_every_finding_of_a_whole_study_is_told_with_its_n(told):
    assert len(told) == 12
    for name, finding in told.items():
        assert finding.text.endswith("."), name
        assert re.search(r"\d+ (features|pairs|sequences|tokens|seeds|entities|prompts|SAEs)", finding.text), (
            finding.text
        )


def test_the_mart_and_the_words_know_the_same_findings():
    topics = re.findall(r"\(\d+, '(\w+)', '", mart_texts()["findings"])
    assert topics == [*_TEXTS]


def test_verdicts_are_told_as_shares_of_the_scored_features_with_their_thresholds():
    of = {"finding": "feature_verdicts", "source_layer": 8, "target_layer": 16, "n": 590, "unit": "features"}
    given = [
        number(0.22, 0.18, 0.26, measure="share_computed", threshold=0.3, **of),
        number(0.41, 0.36, 0.46, measure="share_transported", threshold=0.7, **of),
        number(0.37, 0.33, 0.41, measure="share_undetermined", **of),
    ]
    (finding,) = findings_of(given)
    assert finding.text == (
        "Of 590 features of layer 16, 41 % [36, 46] are transported from layer 8 (95 % interval of r2 above 0.7); 22 % [18, 26] "
        "are computed on the way (below 0.3) and 37 % [33, 41] are undetermined."
    )


def test_a_cost_that_was_not_held_against_the_identity_is_told_alone():
    of = {"finding": "replacement_cost", "source_layer": 8, "target_layer": 16, "n": 12, "unit": "sequences"}
    (finding,) = findings_of([number(0.0142, -0.002, 0.031, measure="added_loss", subject="10,50", **of)])
    assert finding.text == (
        "Replacing the residuals of layer 16 at positions 10, 50 by their transport from layer 8 adds 0.014 [-0.002, 0.031] nats "
        "per token to the next-token loss (12 sequences)."
    )


def test_what_is_not_better_than_a_baseline_is_said_to_be_so():
    of = {
        "finding": "entity_knowledge",
        "target_layer": 12,
        "subject": "known entities: feature 7",
        "n": 40,
        "unit": "entities",
    }
    given = [
        number(0.7, 0.6, 0.8, measure="auroc", note="not better than the best baseline", **of),
        number(0.72, 0.62, 0.82, measure="baseline_auroc", note="token_frequency", **of),
    ]
    (finding,) = findings_of(given)
    assert (
        "without an SAE, token frequency reaches 0.72 [0.62, 0.82]: not better than the best baseline." in finding.text
    )


def test_one_pair_is_no_range():
    of = {"finding": "residuals_over_identity", "subject": "ridge"}
    given = [
        number(0.0, measure="n_above", n=1, unit="pairs", **of),
        number(1.0, measure="n_below", n=1, unit="pairs", **of),
        number(-0.2, -0.3, -0.1, measure="skill", source_layer=1, target_layer=4, n=100, unit="tokens", **of),
    ]
    (finding,) = findings_of(given)
    assert "in none of 1 pair, more in 1" in finding.text
    assert finding.text.endswith("-0.20 [-0.30, -0.10] (layer 1 → 4); 100 tokens.")
