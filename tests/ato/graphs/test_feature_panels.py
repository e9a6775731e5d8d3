"""Panels of features: found under the path that graphs name, which changes when they do."""

import json

import pytest

from ato.errors import InputError
from ato.features.exports.cantor import cantor_id
from ato.features.exports.feature_page import ExampleGroup, FeaturePage
from ato.graphs.feature_panels import write_panels
from tests.ato.features.exports.pages import excerpt

EXAMPLE = excerpt(("the", " cat"), (0.0, 2.5), 1)
GROUPS = (ExampleGroup("top", (EXAMPLE,)), ExampleGroup("random", ()))
PANEL = FeaturePage(3, 70_000, "sae", top_tokens=("a",), top_logits=(1.0,), groups=GROUPS)
STUB = FeaturePage(4, 1, "sae")


def test_a_panel_lies_where_the_page_looks_for_it(tmp_path):
    scan = write_panels(tmp_path, [PANEL, STUB])
    assert scan.startswith("./data/features/")
    folder = tmp_path / scan.removeprefix("./data/")
    content = json.loads((folder / f"{cantor_id(3, 70_000)}.json").read_text())
    assert content["act_max"] == 2.5
    shown = content["examples_quantiles"][0]["examples"][0]
    assert {name: shown[name] for name in shown if name != "origin"} == {
        "tokens": ["the", " cat"],
        "tokens_acts_list": [0.0, 2.5],
        "train_token_ind": 1,
        "is_repeated_datapoint": False,
    }
    stub = json.loads((folder / f"{cantor_id(4, 1)}.json").read_text())
    assert [group["examples"] for group in stub["examples_quantiles"]] == [[], []]
    assert len(list(folder.iterdir())) == 2


def test_the_path_changes_with_the_content_and_not_with_the_order(tmp_path):
    first = write_panels(tmp_path, [PANEL, STUB])
    assert write_panels(tmp_path, [STUB, PANEL]) == first
    assert write_panels(tmp_path, [STUB]) != first
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_panels_that_do_not_add_up_are_refused(tmp_path):
    with pytest.raises(InputError, match="two panels"):
        write_panels(tmp_path, [STUB, STUB])
    for wrong in (excerpt(("a",), (1.0, 2.0), 0), excerpt(("a",), (1.0,), 1)):
        with pytest.raises(InputError, match="is not one of 1 tokens"):
            write_panels(tmp_path, [FeaturePage(0, 0, "sae", groups=(ExampleGroup("top", (wrong,)),))])
