"""Panels of features: found under the path that graphs name, which changes when they do."""

import json

import pytest

from ato.errors import InputError
from ato.graphs.circuit_tracer import cantor
from ato.graphs.feature_panels import FeaturePanel, PanelExample, write_panels

EXAMPLE = PanelExample(("the", " cat"), (0.0, 2.5), 1)
PANEL = FeaturePanel(3, 70_000, {"Top activations": (EXAMPLE,), "Random samples": ()}, ("a",), ("b",), 0.01)
STUB = FeaturePanel(4, 1, {})


def test_a_panel_lies_where_the_page_looks_for_it(tmp_path):
    scan = write_panels(tmp_path, [PANEL, STUB])
    assert scan.startswith("./data/features/")
    folder = tmp_path / scan.removeprefix("./data/")
    content = json.loads((folder / f"{cantor(3, 70_000)}.json").read_text())
    assert content["act_max"] == 2.5
    assert content["examples_quantiles"][0]["examples"][0] == {
        "tokens": ["the", " cat"],
        "tokens_acts_list": [0.0, 2.5],
        "train_token_ind": 1,
        "is_repeated_datapoint": False,
    }
    assert json.loads((folder / f"{cantor(4, 1)}.json").read_text())["examples_quantiles"] == []
    assert len(list(folder.iterdir())) == 2


def test_the_path_changes_with_the_content_and_not_with_the_order(tmp_path):
    first = write_panels(tmp_path, [PANEL, STUB])
    assert write_panels(tmp_path, [STUB, PANEL]) == first
    assert write_panels(tmp_path, [STUB]) != first
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_panels_that_do_not_add_up_are_refused(tmp_path):
    with pytest.raises(InputError, match="two panels"):
        write_panels(tmp_path, [STUB, STUB])
    for example in (PanelExample(("a",), (1.0, 2.0), 0), PanelExample(("a",), (1.0,), 1)):
        with pytest.raises(InputError, match="activation for each token"):
            FeaturePanel(0, 0, {"Top activations": (example,)}).document()
