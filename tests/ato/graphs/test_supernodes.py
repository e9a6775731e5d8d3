"""Supernodes on local files (a case of decoderesearch/circuit-tracer#20): group, label, save, reload, export."""

import json

import numpy as np
import pytest

from ato.errors import DamagedFileError, InputError
from ato.graphs.circuit_tracer import Captions, node_ids, read_graph, write_graph
from ato.graphs.supernodes import View, export_view, load_view, save_view
from tests.ato.graphs.graphs_by_hand import random_graph

GRAPH = random_graph()
CAPTIONS = Captions("g", "p", ("a", "b", "c"), logits={40: "x", 41: "y"}, labels={(0, 0): "capital"})
NAMES = node_ids(GRAPH)
FIRST, SECOND, ALONE = tuple(NAMES[7:10]), tuple(NAMES[15:18]), NAMES[20]


@pytest.fixture
def path(tmp_path):
    return write_graph(tmp_path, GRAPH, CAPTIONS)


@pytest.fixture
def view():
    return View(pinned=(ALONE,)).group("early", FIRST).group("late", SECOND)


def test_what_was_grouped_and_labelled_is_there_after_reload(path, view):
    save_view(path, view.relabel("early", "a capital"))
    again = load_view(path)
    assert again.supernodes == {"a capital": FIRST, "late": SECOND}
    assert set(again.pinned) == {ALONE, *FIRST, *SECOND}


def test_saving_a_view_leaves_the_graph_as_it_is(path, view):
    before = json.loads(path.read_text())
    save_view(path, view)
    after = json.loads(path.read_text())
    assert {**after, "qParams": before["qParams"]} == before
    np.testing.assert_array_equal(read_graph(path)[0].weight, GRAPH.weight)


def test_an_export_holds_the_sums_of_effects_between_supernodes(path, view, tmp_path):
    save_view(path, view)
    exported = json.loads(export_view(path, tmp_path / "out" / "view.json").read_text())
    assert [group["label"] for group in exported["supernodes"]] == ["early", "late"]
    assert exported["supernodes"][0]["nodes"][0] == {"node_id": NAMES[7], "label": "capital"}
    matrix = np.zeros((len(NAMES),) * 2)
    matrix[GRAPH.source, GRAPH.target] = GRAPH.weight
    expected = {
        ("early", "late"): matrix[7:10, 15:18].sum(),
        ("early", ALONE): matrix[7:10, 20].sum(),
        ("late", ALONE): matrix[15:18, 20].sum(),
    }
    found = {(edge["source"], edge["target"]): edge["weight"] for edge in exported["edges"]}
    assert found == pytest.approx({pair: weight for pair, weight in expected.items() if weight})


def test_a_node_moves_to_the_supernode_it_was_put_in_last(view):
    moved = view.group("both", [FIRST[0], *SECOND])
    assert moved.supernodes == {"early": FIRST[1:], "both": (FIRST[0], *SECOND)}
    assert moved.ungroup("both").supernodes == {"early": FIRST[1:]}
    assert view.supernodes == {"early": FIRST, "late": SECOND}


def test_lists_that_a_page_saved_as_text_are_read(path, view):
    document = json.loads(path.read_text())
    document["qParams"] = {
        "pinnedIds": ",".join(FIRST),
        "supernodes": json.dumps([["early", *FIRST], ["empty"]]),
        "clickedId": None,
    }
    path.write_text(json.dumps(document))
    assert load_view(path) == View(FIRST, {"early": FIRST})


def test_a_graph_without_a_view_has_an_empty_one(path):
    assert load_view(path) == View()


def test_what_cannot_be_grouped_is_refused(path, view, tmp_path):
    for attempt, message in [
        (lambda: view.group("early", FIRST), "there is a supernode 'early'"),
        (lambda: view.group("new", []), "needs a node"),
        (lambda: view.group(" ", FIRST), "needs a label"),
        (lambda: view.relabel("none", "x"), "choose from: early, late"),
        (lambda: view.relabel("early", "late"), "there is a supernode"),
        (lambda: view.ungroup("none"), "no supernode"),
        (lambda: save_view(path, View(("99_9_9",))), "no node '99_9_9'"),
        (lambda: export_view(path, tmp_path / "x.json"), "nothing is pinned"),
    ]:
        with pytest.raises(InputError, match=message):
            attempt()
    path.write_text('{"qParams": {"supernodes": 3}}')
    with pytest.raises(DamagedFileError):
        load_view(path)
