"""The matrix of a graph, its parts and its books."""

from dataclasses import replace

import numpy as np
import pytest

from ato.errors import InputError
from ato.graphs.adjacency import adjacency, subgraph
from ato.graphs.checks import conservation_residual
from tests.ato.graphs.graphs_by_hand import graph_of, random_graph


def test_rows_are_targets_and_edges_given_twice_are_summed():
    graph = graph_of(["token", "feature", "logit"], [(0, 1, 2.0), (1, 2, -3.0), (0, 1, 0.5)])
    assert adjacency(graph).toarray().tolist() == [[0, 0, 0], [2.5, 0, 0], [0, -3, 0]]


def test_residuals_are_relative_to_what_was_added():
    kinds = ["token", "token", "feature", "feature", "feature", "feature"]
    edges = [(0, 2, 1e6), (1, 2, -1e6), (0, 3, 1.0), (0, 5, 0.0)]
    graph = graph_of(kinds, edges, total=[np.nan, np.nan, 1e-3, 4.0, 2.0, 0.0])
    np.testing.assert_allclose(conservation_residual(graph), [np.nan, np.nan, 5e-10, 0.75, 1, 0])


def test_a_subgraph_keeps_the_edges_between_its_nodes():
    graph = random_graph(0)
    nodes = np.random.default_rng(0).random(len(graph.kind)) < 0.6
    part = subgraph(graph, nodes)
    np.testing.assert_array_equal(adjacency(part).toarray(), adjacency(graph).toarray()[np.ix_(nodes, nodes)])
    np.testing.assert_array_equal(part.feature, graph.feature[nodes])
    few = subgraph(graph, nodes, np.arange(len(graph.weight)) % 2 == 0)
    assert 0 < len(few.weight) < len(part.weight)
    assert len(subgraph(graph, np.zeros(len(nodes), bool)).kind) == 0


def test_an_empty_graph_has_an_empty_matrix():
    empty = graph_of([], [])
    assert adjacency(empty).shape == (0, 0)
    assert len(conservation_residual(empty)) == 0


def test_arrays_that_do_not_fit_are_refused():
    graph = random_graph(0)
    for wrong, message in [
        (replace(graph, layer=graph.layer[1:]), "layer"),
        (replace(graph, weight=graph.weight[1:]), "source, target"),
        (replace(graph, kind=np.where(graph.kind == "logit", "head", graph.kind)), "unknown kind of node 'head'"),
        (replace(graph, target=graph.target - len(graph.kind)), "joins a node"),
    ]:
        with pytest.raises(InputError, match=message):
            adjacency(wrong)
