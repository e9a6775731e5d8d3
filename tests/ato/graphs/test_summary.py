"""Summaries and motifs against plain counts, and motifs that were planted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ato.errors import InputError
from ato.graphs.comparison import compare_edges
from ato.graphs.motifs import MotifCounter
from ato.graphs.pruning import graph_scores
from ato.graphs.summary import summarise
from ato.graphs.transport import transport_graph
from tests.ato.graphs.graphs_by_hand import graph_of, operator_of, random_graph, sites_of


def test_a_summary_counts_nodes_and_edges_by_kind():
    graph = random_graph(0)
    summary = summarise(graph)
    assert {kind: n for kind, n in summary.nodes.items() if n} == Counter(graph.kind.tolist())
    kinds = list(zip(graph.kind[graph.source].tolist(), graph.kind[graph.target].tolist(), strict=True))
    assert summary.edges == Counter(kinds)
    for pair, size in summary.absolute_weight.items():
        assert size == pytest.approx(sum(abs(w) for w, k in zip(graph.weight, kinds, strict=True) if k == pair))
    assert (summary.n_nodes, summary.n_edges, summary.n_tokens) == (len(graph.kind), len(graph.weight), 3)
    errors = np.abs(graph.weight[graph.kind[graph.source] == "error"]).sum()
    assert summary.error_share == pytest.approx(errors / np.abs(graph.weight).sum())
    assert summary.scores == graph_scores(graph)
    assert np.isnan(summary.transport_share)


def test_a_summary_says_whether_the_books_balance():
    graph = random_graph(0)
    assert summarise(graph).residual <= 1e-12
    last = int(graph.target[-1])
    wrong = replace(graph, total=np.where(np.arange(len(graph.kind)) == last, graph.total + 5, graph.total))
    assert summarise(wrong).residual > 0.05


def test_a_summary_has_the_share_of_transport():
    transport = transport_graph(sites_of((0, 1)), [operator_of(0, 1)], range(5))
    attribution = replace(transport, weight=4 * transport.weight)
    assert summarise(attribution, edges=compare_edges(attribution, transport)).transport_share == pytest.approx(0.25)


def test_a_graph_without_edges_has_a_summary():
    summary = summarise(graph_of(["token", "logit"], []))
    assert summary.n_edges == 0
    assert np.isnan([summary.residual, summary.error_share, summary.scores.replacement]).all()


def features_graph(edges, position=(0, 1, 1, 1)):
    """Features 10, 10 and 20 of layer 0 and feature 30 of layer 2, the first at position 0."""
    return graph_of(["feature"] * 4, edges, layer=[0, 0, 0, 2], position=list(position), feature=[10, 10, 20, 30])


PROMPTS = {
    "a": features_graph([(0, 3, 1.0), (1, 3, 2.0), (2, 3, 4.0)]),
    "b": features_graph([(1, 3, -4.0)]),
    "c": features_graph([(0, 3, 3.0), (1, 3, 5.0), (2, 3, 1.0)], position=(0, 0, 1, 1)),
}


def counted(names):
    counter = MotifCounter()
    for name in names:
        counter.update(name, PROMPTS[name])
    return counter


def test_edges_that_recur_are_counted_by_features_and_whether_positions_agree():
    found = counted("abc").result(min_graphs=1)
    ends = found.source_layer, found.source_feature, found.target_layer, found.target_feature, found.same_position
    rows = dict(zip(zip(*(e.tolist() for e in ends), strict=True), range(len(found)), strict=True))
    assert set(rows) == {(0, 10, 2, 30, True), (0, 10, 2, 30, False), (0, 20, 2, 30, True)}
    carried, moved = rows[0, 10, 2, 30, True], rows[0, 10, 2, 30, False]
    assert (found.n_graphs[carried], found.n_edges[carried]) == (2, 2)
    assert (found.weight[carried], found.positive_share[carried]) == (-1, 0.5)
    # Two edges of one prompt are one prompt.
    assert (found.n_graphs[moved], found.n_edges[moved], found.weight[moved]) == (2, 3, 3)
    assert np.isnan(found.transport_share).all()


def test_motifs_of_fewer_prompts_are_left_out_and_the_most_frequent_come_first():
    graphs = PROMPTS | {"d": PROMPTS["b"]}
    counter = MotifCounter()
    for name, graph in graphs.items():
        counter.update(name, graph)
    assert len(counter.result(min_graphs=4)) == 0
    found = counter.result(min_graphs=2)
    assert found.n_graphs.tolist() == [3, 2, 2]
    assert found.same_position.tolist() == [True, False, True]


def test_the_order_of_prompts_changes_nothing():
    one, other = counted("abc").result(1), counted("cba").result(1)
    for name in vars(one):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name))


def test_motifs_say_which_share_is_transport():
    transport = transport_graph(sites_of((0, 1)), [operator_of(0, 1)], range(5))
    counter = MotifCounter()
    for name, factor in (("a", 2.0), ("b", 4.0)):
        attribution = replace(transport, weight=factor * transport.weight)
        counter.update(name, attribution, compare_edges(attribution, transport))
    found = counter.result()
    # Half of 2 w and a quarter of 4 w are 2 of 6.
    np.testing.assert_allclose(found.transport_share, 2 / 6)


def test_no_graphs_and_graphs_without_features_have_no_motifs():
    assert len(MotifCounter().result()) == 0
    assert len(MotifCounter().update("a", graph_of(["token", "logit"], [(0, 1, 1.0)])).result(1)) == 0


def test_a_prompt_is_counted_once():
    with pytest.raises(InputError, match="counted before"):
        counted("aa")
