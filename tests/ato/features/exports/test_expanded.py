"""Expanded JSON: its fields are those that viewers read, and its rates are counts over counts."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings

from ato.errors import InputError
from ato.features.exports.cantor import cantor_id, from_cantor_id
from ato.features.exports.expanded import feature_json, write_expanded
from ato.features.exports.feature_page import ExampleGroup, TokenCounts
from tests.ato.features.exports.pages import ACTIVE, TOKENS, excerpt, page, page_lists


@pytest.mark.parametrize(("layer", "feature", "number"), [(0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 7, 43), (2, 2, 12)])
def test_a_feature_has_the_number_that_viewers_compute(layer, feature, number):
    assert cantor_id(layer, feature) == number


def test_numbers_of_features_are_all_different_and_lead_back():
    pairs = {(layer, feature) for layer in range(60) for feature in range(60)} | {
        (31, 10**8),
        (10**9, 3),
        (25, 98_303),
        (61, 10**9),
    }
    assert {from_cantor_id(cantor_id(*pair)) for pair in pairs} == pairs
    assert {cantor_id(x, s - x) for s in range(20) for x in range(s + 1)} == set(range(210))


@pytest.mark.parametrize("call", [lambda: cantor_id(-1, 3), lambda: cantor_id(0, -1), lambda: from_cantor_id(-1)])
def test_negative_numbers_are_refused(call):
    with pytest.raises(InputError, match="from 0"):
        call()


def test_a_feature_has_the_fields_of_the_layout():
    content = feature_json(page())
    assert content["top_logits"] == [" court", "😀"]
    assert content["bottom_logits"] == ["ly"]
    assert (content["act_min"], content["act_max"]) == (0.0, 4.0)
    assert content["activation_frequency"] == 0.05
    assert (content["layer"], content["feature"], content["index"]) == (1, 7, 7)
    assert "is_neuron" not in content
    names = [group["quantile_name"] for group in content["examples_quantiles"]]
    assert names == ["Top activations", "Random samples", "Quantile 0 to 0.5"]


def test_strong_examples_come_by_falling_activation_with_their_token_and_origin():
    top = feature_json(page())["examples_quantiles"][0]["examples"]
    assert [one["tokens_acts_list"][one["train_token_ind"]] for one in top] == [4.0, 1.5]
    assert top[0]["tokens"] == [" a", "\n", "é"]
    assert [one["is_repeated_datapoint"] for one in top] == [False, False]
    assert top[0]["origin"] == {
        "corpus": "tiny",
        "document": 14,
        "sequence": 4,
        "position": 6,
        "start": 5,
        "split": "train",
        "stratum": "law",
    }


def test_groups_without_examples_are_there_and_leave_the_scale_to_the_viewer():
    content = feature_json(page(groups=(), histogram_edges=(), histogram_counts=()))
    assert content["examples_quantiles"] == [
        {"quantile_name": "Top activations", "examples": []},
        {"quantile_name": "Random samples", "examples": []},
    ]
    assert not content.keys() & {"act_min", "act_max", "histogram", "quantile_values"}


def test_bars_span_the_scale_and_percentiles_are_those_of_the_counts():
    content = feature_json(page())
    assert sum(content["histogram"]) == pytest.approx(50)
    quantiles = content["quantile_values"]
    assert len(quantiles) == 99
    assert quantiles == sorted(quantiles)
    assert quantiles[39] == pytest.approx(1.0)  # 20 of 50 below
    assert quantiles[79] == pytest.approx(2.0)


def test_numbers_that_are_not_finite_are_null_and_do_not_count_for_the_scale():
    odd = excerpt(("a", "b", "c"), (math.nan, 2.0, math.inf), 1)
    content = feature_json(page(groups=(ExampleGroup("top", (odd,)),), top_logits=(math.nan, -math.inf)))
    assert content["examples_quantiles"][0]["examples"][0]["tokens_acts_list"] == [None, 2.0, None]
    assert content["top_logit_values"] == [None, None]
    assert (content["act_min"], content["act_max"]) == (2.0, 2.0)


@pytest.mark.parametrize("bad", [excerpt(("a",), (1.0,), 1), excerpt(("a", "b"), (1.0,), 0), excerpt((), (), 0)])
def test_an_excerpt_without_its_token_is_refused(bad):
    with pytest.raises(InputError, match="hold the token"):
        feature_json(page(groups=(ExampleGroup("random", (bad,)),)))


def test_rates_are_counts_over_counts(tmp_path):
    silent = replace(page(8), active=TokenCounts(0))
    assert write_expanded([page(), silent], tmp_path) == 1
    assert [path.name for path in (tmp_path / "features").iterdir()] == ["43.json"]
    rates = json.loads((tmp_path / "feature_metadata.json").read_bytes())
    assert (rates["total_tokens"], rates["tokens_per_domain"]) == (1_000, {"law": 400, "sea": 600})
    assert (rates["tokens_per_region"], rates["tokens_per_thinking_bin"]) == ({"question": 250}, [100] * 9 + [0])
    (one,) = rates["features"]
    assert (one["layer"], one["feature"], one["cantor_id"]) == (1, 7, 43)
    assert (one["activation_count"], one["activation_freq"]) == (50, 0.05)
    assert one["domain_density"] == {"law": 40 / 400, "sea": 10 / 600}
    assert one["domain_fraction"] == {"law": 0.8, "sea": 0.2}
    assert (one["region_density"], one["region_fraction"]) == ({"question": 0.2}, {"question": 1.0})
    assert one["thinking_position_density"] == [0.3, 0.2, *[0.0] * 8]
    assert one["thinking_position_fraction"] == [0.6, 0.4, *[0.0] * 8]


def test_fractions_of_whole_strata_sum_to_one_and_density_times_tokens_gives_the_counts(tmp_path):
    write_expanded([page(i) for i in (0, 3, 900)], tmp_path)
    rates = json.loads((tmp_path / "feature_metadata.json").read_bytes())
    for one in rates["features"]:
        assert sum(one["domain_fraction"].values()) == pytest.approx(1)
        counts = {d: one["domain_density"][d] * n for d, n in rates["tokens_per_domain"].items()}
        assert counts == pytest.approx(ACTIVE.by_domain)


def test_a_second_export_leaves_no_feature_of_the_first(tmp_path):
    write_expanded([page(7), page(8)], tmp_path)
    (tmp_path / "features" / "notes.json").write_text("{}")
    write_expanded([page(8)], tmp_path)
    assert sorted(path.name for path in (tmp_path / "features").iterdir()) == ["53.json", "notes.json"]


def test_neurons_are_marked_in_both_files(tmp_path):
    write_expanded([page(is_neuron=True)], tmp_path)
    rates = json.loads((tmp_path / "feature_metadata.json").read_bytes())
    assert rates["is_neuron_baseline"] is True
    assert rates["features"][0]["is_neuron"] is True
    assert json.loads((tmp_path / "features" / "43.json").read_bytes())["is_neuron"] is True


def test_without_a_feature_the_file_of_rates_is_still_one(tmp_path):
    assert write_expanded([], tmp_path) == 0
    assert json.loads((tmp_path / "feature_metadata.json").read_bytes())["features"] == []


@pytest.mark.parametrize(
    ("pages", "problem"),
    [
        ([page(7), page(7)], "feature 7 comes after 7"),
        ([page(7, 2), page(8, 1)], "layer 1 after 2"),
        ([page(7), page(3, sae="sae-2")], "sae-1 and sae-2 are of one layer"),
        ([page(7), page(8, tokens=TokenCounts(9))], "counted over 9 tokens"),
        ([page(active=replace(ACTIVE, by_domain={"air": 1}))], "more tokens than were counted"),
        ([page(active=replace(ACTIVE, total=1_001))], "more tokens than were counted"),
        ([page(active=replace(ACTIVE, by_thinking_bin=(1,)))], "more tokens than were counted"),
    ],
)
def test_pages_that_contradict_each_other_are_refused_and_leave_no_file_of_rates(tmp_path, pages, problem):
    with pytest.raises(InputError, match=problem):
        write_expanded(pages, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "features"] == []


@settings(max_examples=60, deadline=None)
@given(pages=page_lists())
def test_any_page_is_strict_json_whose_lists_are_as_long_as_its_tokens(pages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expanded")
    write_expanded(pages, folder)
    files = {int(path.stem): path for path in (folder / "features").glob("*.json")}
    shown = [one for one in pages if one.active is None or one.active.total]
    assert files.keys() == {cantor_id(one.layer, one.feature_id) for one in shown}
    for one in shown:
        text = files[cantor_id(one.layer, one.feature_id)].read_bytes().decode("utf-8")
        content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        for example in (e for group in content["examples_quantiles"] for e in group["examples"]):
            assert len(example["tokens"]) == len(example["tokens_acts_list"]) > example["train_token_ind"] >= 0
    rates = json.loads((folder / "feature_metadata.json").read_bytes())
    assert rates["total_tokens"] in (0, TOKENS.total)
    assert {one["cantor_id"] for one in rates["features"]} == {
        cantor_id(one.layer, one.feature_id) for one in shown if one.active is not None
    }
