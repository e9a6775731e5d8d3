"""Pruning and scores against dense matrices, and what pruning must never do."""

import numpy as np
import pytest

from ato.errors import InputError, SettingsError
from ato.graphs.adjacency import adjacency
from ato.graphs.pruning import edge_influence, graph_scores, influence, output_weights, prune
from ato.graphs.transport import transport_graph
from tests.ato.graphs.graphs_by_hand import graph_of, linear_toy, operator_of, random_graph, sites_of


def dense(graph):
    matrix = np.zeros((len(graph.kind),) * 2)
    np.add.at(matrix, (graph.target, graph.source), np.abs(graph.weight))
    return matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_influence_is_the_sum_over_all_paths_in_closed_form(seed):
    graph = random_graph(seed)
    w = output_weights(graph)
    closed = w @ np.linalg.inv(np.eye(len(w)) - dense(graph)) - w
    np.testing.assert_allclose(influence(graph), closed, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("node_share", "edge_share"), [(0.8, 0.98), (0.5, 0.5), (1.0, 1.0)])
def test_pruning_is_that_of_a_dense_plain_program(seed, node_share, edge_share):
    graph = random_graph(seed)
    pruned = prune(graph, node_share, edge_share)
    nodes, edges = pruned_plainly(graph, node_share, edge_share)
    np.testing.assert_array_equal(pruned.nodes, nodes)
    np.testing.assert_array_equal(pruned.edges, edges[graph.target, graph.source])
    np.testing.assert_array_equal(pruned.graph.weight, graph.weight[pruned.edges])


def pruned_plainly(graph, node_share, edge_share):
    """The rules one after the other on whole matrices."""
    n, a, w = len(graph.kind), dense(graph), output_weights(graph)

    def cut(scores, share):
        ordered = np.sort(scores.ravel())[::-1]
        return ordered[min(np.searchsorted(ordered.cumsum() / ordered.sum(), share - 1e-12), ordered.size - 1)]

    def paths(a):
        return w @ np.linalg.inv(np.eye(n) - a) - w

    reached = paths(a)
    always = np.isin(graph.kind, ("token", "logit"))
    nodes = (reached >= cut(reached, node_share)) | always
    raw = np.abs(adjacency(graph).toarray()) * np.outer(nodes, nodes)
    b = raw / np.maximum(raw.sum(1, keepdims=True), 1e-10)
    score = b * (paths(b) + w)[:, None]
    edges = (score >= cut(score, edge_share)) & (score > 0)
    had = (adjacency(graph).toarray() != 0).any(1)
    while True:
        before = nodes.copy()
        for i in range(n):
            dead_end = not edges[:, i].any()
            unfed = graph.kind[i] == "feature" and had[i] and not edges[i].any()
            if not always[i] and (dead_end or unfed):
                nodes[i] = False
        edges &= np.outer(nodes, nodes)
        if (before == nodes).all():
            return nodes, edges


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_their_definitions(seed):
    graph = random_graph(seed)
    a, w, reached = dense(graph), output_weights(graph), influence(graph)
    is_error = graph.kind == "error"
    leaves = (graph.kind == "feature") & (a.sum(1) == 0)
    inputs = reached[(graph.kind == "token") | leaves].sum()
    scores = graph_scores(graph)
    assert scores.replacement == pytest.approx(inputs / (inputs + reached[is_error].sum()))
    both = reached + w
    assert scores.completeness == pytest.approx(((1 - a[:, is_error].sum(1)) * both).sum() / both.sum())
    assert prune(graph).scores == scores


def test_a_chain_passes_all_of_its_influence_on():
    chain = graph_of(["token", "feature", "feature", "logit"], [(0, 1, -3.0), (1, 2, 0.5), (2, 3, 9.0)])
    np.testing.assert_allclose(influence(chain), [1, 1, 1, 0])
    assert graph_scores(chain).replacement == graph_scores(chain).completeness == 1


def test_thresholds_of_one_keep_every_edge_that_reaches_an_output_and_no_other():
    kinds = ["token", "feature", "feature", "logit"]
    graph = graph_of(kinds, [(0, 1, 1.0), (0, 2, 1.0), (1, 3, 1e-9), (1, 2, 0.0)])
    pruned = prune(graph, 1.0, 1.0)
    assert pruned.edges.tolist() == [True, False, True, False]
    assert pruned.nodes.tolist() == [True, True, False, True]


def test_influence_of_kept_nodes_is_the_cumulative_share_at_their_rank():
    graph = random_graph(1)
    pruned, reached = prune(graph, 0.7), influence(graph)
    for node, share in zip(np.flatnonzero(pruned.nodes), pruned.graph.influence, strict=True):
        above = (reached > reached[node]) | ((reached == reached[node]) & (np.arange(len(reached)) <= node))
        assert share == pytest.approx(reached[above].sum() / reached.sum())


def test_the_first_layer_of_a_transport_graph_is_kept_and_its_exact_sum_scores_one():
    sites, operators = linear_toy()
    graph = transport_graph(sites, operators, (1, 2, 3, 4))
    assert set(graph.layer[output_weights(graph) > 0]) == {2}
    pruned = prune(graph)
    assert {0, 1, 2} <= set(pruned.graph.layer)
    assert pruned.scores.replacement == pytest.approx(1)
    noisy = transport_graph(sites_of((0, 1)), [operator_of(0, 1)], (1, 2, 3, 4, 5))
    assert 0 < prune(noisy).scores.replacement < 1


def test_the_order_of_edges_changes_nothing_but_their_order():
    graph = random_graph(2)
    order = np.random.default_rng(0).permutation(len(graph.weight))
    turned = graph_of(
        graph.kind.tolist(),
        list(zip(graph.source[order], graph.target[order], graph.weight[order], strict=True)),
        activation=graph.activation,
    )
    np.testing.assert_array_equal(prune(turned).nodes, prune(graph).nodes)
    np.testing.assert_array_equal(prune(turned).edges, prune(graph).edges[order])


def test_a_graph_without_edges_has_no_scores_and_keeps_tokens_and_logits():
    pruned = prune(graph_of(["token", "feature", "logit"], []))
    assert pruned.nodes.tolist() == [True, False, True]
    assert np.isnan(pruned.scores.replacement)


def test_equal_edges_are_kept_or_cut_together():
    kinds = ["token"] * 4 + ["logit"]
    assert prune(graph_of(kinds, [(i, 4, 1.0) for i in range(4)]), 0.5, 0.5).edges.all()


def test_what_has_no_influence_to_prune_by_is_refused():
    cycle = graph_of(["feature", "feature", "logit"], [(0, 1, 1.0), (1, 0, 1.0), (1, 2, 1.0)])
    with pytest.raises(InputError, match="cycle"):
        influence(cycle)
    with pytest.raises(SettingsError, match="node_threshold"):
        prune(cycle, 0.0)
    with pytest.raises(InputError, match="probabilities"):
        influence(graph_of(["token", "logit"], [(0, 1, 1.0)], activation=[np.nan, 12.5]))
    with pytest.raises(InputError, match="no outputs"):
        influence(graph_of(["token"], []))
    with pytest.raises(InputError, match="weights of outputs"):
        influence(cycle, np.ones(2))
    with pytest.raises(InputError, match="joins a node"):
        influence(graph_of(["logit"], [(0, 3, 1.0)]))


@pytest.mark.parametrize("seed", range(3))
def test_the_influence_through_an_edge_is_that_of_all_paths_that_begin_with_it(seed):
    graph = random_graph(seed, n_features=6)
    size, into = np.abs(graph.weight), np.bincount(graph.target, np.abs(graph.weight), minlength=len(graph.kind))
    shares, weights = size / into[graph.target], output_weights(graph)

    def reaching(node):  # over all paths, the empty one included
        return weights[node] + sum(shares[e] * reaching(graph.target[e]) for e in np.flatnonzero(graph.source == node))

    expected = [share * reaching(target) for share, target in zip(shares, graph.target)]
    np.testing.assert_allclose(edge_influence(graph), expected, rtol=1e-10)
