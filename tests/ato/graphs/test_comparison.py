"""Shares of transport: planted ones come back, and what no operator reaches is not compared."""

from dataclasses import replace

import numpy as np
import pytest

from ato.errors import MismatchError
from ato.graphs.adjacency import subgraph
from ato.graphs.comparison import compare_edges, compare_features
from ato.graphs.transport import transport_graph
from tests.ato.graphs.graphs_by_hand import graph_of, operator_of, sites_of

TOKENS = (1, 7, 8, 9, 7)


@pytest.fixture(scope="module")
def transport():
    return transport_graph(sites_of((0, 1, 2)), [operator_of(0, 1), operator_of(1, 2)], TOKENS)


def features(graph, edges):
    return (graph.kind[graph.source[edges]] == "feature") & (graph.kind[graph.target[edges]] == "feature")


def test_a_graph_compared_with_itself_is_transport_in_every_edge(transport):
    found = compare_edges(transport, transport)
    assert len(found.edge) == found.n_features == features(transport, slice(None)).sum()
    np.testing.assert_allclose(found.share, 1)
    assert found.total_share == pytest.approx(1)
    by_feature = compare_features(transport, found)
    np.testing.assert_allclose(by_feature.share, 1)
    np.testing.assert_allclose(by_feature.error, 0)


@pytest.mark.parametrize(("factor", "share", "error"), [(2.0, 0.5, 0.5), (0.5, 1.0, 1.0), (-1.0, 0.0, 2.0)])
def test_a_planted_multiple_of_transport_comes_back(transport, factor, share, error):
    attribution = replace(transport, weight=transport.weight * factor)
    found = compare_edges(attribution, transport)
    np.testing.assert_allclose(found.share, share)
    np.testing.assert_allclose(compare_features(attribution, found).error, error)


def test_the_order_of_nodes_and_edges_does_not_matter(transport):
    rng = np.random.default_rng(0)
    nodes, edges = rng.permutation(len(transport.kind)), rng.permutation(len(transport.weight))
    place = np.argsort(nodes)
    turned = replace(
        transport,
        **{
            n: getattr(transport, n)[nodes]
            for n in ("kind", "layer", "position", "feature", "activation", "total", "influence")
        },
        source=place[transport.source[edges]],
        target=place[transport.target[edges]],
        weight=2 * transport.weight[edges],
    )
    np.testing.assert_allclose(compare_edges(turned, transport).share, 0.5)
    assert compare_edges(turned, transport).total_share == pytest.approx(0.5)


def hand_made():
    """Transport: 0 -> 2 at position 1 with weight 3. Attribution: that, one from position 0, one over two layers."""
    places = {"layer": [0, 0, 1, 2], "position": [1, 0, 1, 1], "feature": [4, 4, 5, 6]}
    kinds = ["feature"] * 4
    transport = graph_of(
        [*kinds, "transport_error"], [(0, 2, 3.0), (4, 2, 1.0)], **{n: [*v, 1] for n, v in places.items()}
    )
    attribution = graph_of(
        [*kinds, "token"],
        [(0, 2, 4.0), (1, 2, -2.0), (0, 3, 9.0), (4, 2, 1.0)],
        **{n: [*v, -1] for n, v in places.items()},
    )
    return attribution, transport


def test_edges_from_other_positions_count_as_not_transported_and_other_layers_are_not_compared():
    attribution, transport = hand_made()
    found = compare_edges(attribution, transport)
    assert found.edge.tolist() == [0, 1]
    assert found.transport.tolist() == [3, 0]
    assert found.share.tolist() == [0.75, 0]
    assert found.same_position.tolist() == [True, False]
    assert found.n_features == 3
    assert found.total_share == pytest.approx(3 / 6)


def test_features_add_their_edges_up():
    attribution, transport = hand_made()
    found = compare_features(attribution, compare_edges(attribution, transport))
    assert found.node.tolist() == [2]
    assert (found.n_edges.tolist(), found.n_same_position.tolist(), found.effect.tolist()) == ([2], [1], [6])
    np.testing.assert_allclose([found.share[0], found.share_same_position[0], found.error[0]], [0.5, 4 / 6, 0.25])


def test_features_that_the_transport_graph_lacks_are_not_compared():
    attribution, transport = hand_made()
    without = subgraph(transport, np.array([True, False, True, True, True]))
    assert compare_edges(attribution, without).edge.tolist() == [0]


def test_an_effect_of_zero_has_no_share():
    attribution, transport = hand_made()
    found = compare_edges(replace(attribution, weight=0 * attribution.weight), transport)
    assert np.isnan(found.share).all()
    assert np.isnan(found.total_share)
    assert np.isnan(compare_features(attribution, found).share).all()


def test_nothing_to_compare_is_an_empty_comparison():
    empty = graph_of([], [])
    attribution, _ = hand_made()
    for given in (empty, attribution):
        found = compare_edges(given, empty)
        assert len(found.edge) == len(compare_features(given, found).node) == 0


def test_graphs_of_different_prompts_are_not_compared():
    attribution, transport = hand_made()
    with pytest.raises(MismatchError, match="different prompts"):
        compare_edges(replace(attribution, token_ids=(1, 5)), transport)
