"""What a reader did to a graph survives the way through the address, and nothing in it can name what is not there."""

from dataclasses import asdict

import pytest

from dashboards.views.graphs.view_state import EDGES_SHOWN, GraphView, from_parameters, from_viewer

KNOWN = ("8_1_0", "8_2_0", "12_1_3", "30_7_4")
FULL = GraphView(
    pinned=("8_1_0", "12_1_3"),
    clicked="12_1_3",
    supernodes=(("capital, of ü \"'", "8_1_0", "8_2_0"),),
    nodes=0.55,
    edges=0.25,
    weights="transport",
)


@pytest.mark.parametrize("view", [FULL, GraphView(), GraphView(edges=0.0), GraphView(nodes=0.0, clicked="8_1_0")])
def test_a_view_comes_back_from_its_address_and_from_the_viewer(view):
    assert from_parameters(view.parameters(), KNOWN) == view
    assert from_viewer(asdict(view), KNOWN) == view


def test_what_is_so_at_first_is_not_in_the_address():
    assert GraphView().parameters() == {}
    assert set(FULL.parameters()) == set(asdict(FULL))


@pytest.mark.parametrize(
    "address",
    [
        {"pinned": "nowhere,,", "clicked": "nowhere"},
        {"supernodes": "[["},
        {"supernodes": '{"a": 1}'},
        {"supernodes": '["abc", [], ["alone"], [" ", "8_1_0"], ["unknown", "nowhere"], 3]'},
        {"nodes": "nan", "edges": "2", "weights": "both"},
        {"nodes": "", "edges": "-1"},
    ],
)
def test_an_address_that_makes_no_sense_is_ignored(address):
    assert from_parameters(address, KNOWN) == GraphView(edges=EDGES_SHOWN)


def test_a_node_is_in_one_supernode_and_a_name_is_given_once():
    sent = {
        "supernodes": [["a", "8_1_0", "8_1_0"], ["a", "8_2_0"], ["b", "8_1_0", "12_1_3"]],
        "pinned": "8_1_0",
        "clicked": [],
    }
    assert from_viewer(sent, KNOWN) == GraphView(supernodes=(("a", "8_1_0"), ("b", "12_1_3")))
