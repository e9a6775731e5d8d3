"""What the viewer gets of a graph: every node and edge of the rows, the edges by influence, nothing that was not measured."""

import numpy as np
import polars as pl
import pytest

import warehouse
from ato.graphs.pruning import edge_influence
from dashboards.ui.reading import filled
from dashboards.views.graphs.packing import NODE_COLUMNS, packed
from dashboards.views.graphs.viewer import NODES
from tests.warehouse.graph_rows import FACTORS, TOKENS, attribution_of, transport_of
from tests.warehouse.small_warehouse import COLLECTION

GRAPHS = {"attribution": attribution_of, "transport": transport_of}


def nodes_of(kind: str) -> pl.DataFrame:
    about = {"collection": COLLECTION, "graph_set": "graphs-1", "prompt": "river", "graph_kind": kind}
    return warehouse.run_select(warehouse.connect(), filled(NODES, **about)).pl()


@pytest.mark.parametrize("kind", GRAPHS)
def test_all_nodes_and_edges_are_sent_with_their_weights(study, kind):
    graph = GRAPHS[kind]("river")
    data = packed(nodes_of(kind), TOKENS)
    assert {name: len(values) for name, values in data["nodes"].items()} == dict.fromkeys(NODE_COLUMNS, len(graph.kind))
    edges = data["edges"]
    sent = dict(zip(zip(edges["source"], edges["target"]), edges["weight"]))
    made = dict(zip(zip(graph.source.tolist(), graph.target.tolist()), graph.weight.tolist()))
    assert sent == pytest.approx(made, rel=1e-5)


def test_edges_come_by_their_influence_which_adds_up_to_one(study):
    graph = attribution_of("river")
    edges = packed(nodes_of("attribution"), TOKENS)["edges"]
    assert edges["influence"] == sorted(edges["influence"])
    assert edges["influence"][-1] == pytest.approx(1)
    own = dict(zip(zip(graph.source.tolist(), graph.target.tolist()), edge_influence(graph)))
    found = np.array([own[pair] for pair in zip(edges["source"], edges["target"])])
    np.testing.assert_allclose(np.cumsum(found) / found.sum(), edges["influence"], atol=1e-5)


def test_where_no_operator_joins_the_layers_transport_is_missing_not_0(study):
    nodes = nodes_of("attribution")
    kind, data = nodes["kind"].to_list(), packed(nodes, TOKENS)["edges"]
    for source, transport, share, weight in zip(*(data[name] for name in ("source", "transport", "share", "weight"))):
        assert (transport is None) == (share is None) == (kind[source] != "feature")
        if transport:
            assert transport / weight == pytest.approx(1 / FACTORS["river"], rel=1e-4)
    assert set(packed(nodes_of("transport"), TOKENS)["edges"]["transport"]) == {None}


def test_a_graph_without_outputs_or_edges_is_sent_too(study):
    nodes = nodes_of("attribution")
    lone = nodes.filter(nodes["kind"] == "constant").with_columns(
        pl.lit(None).cast(nodes.schema[name]).alias(name)
        for name in ("sources", "weights", "transport_weights", "transport_shares")
    )
    data = packed(lone, TOKENS)
    assert data["edges"]["source"] == []
    assert len(data["nodes"]["kind"]) == lone.height


def test_texts_cannot_reverse_what_stands_beside_them(study):
    nodes = nodes_of("transport").with_columns(pl.lit("a\u202eb\x1b").alias("label"))
    assert set(packed(nodes, ["\u2066"])["nodes"]["label"]) == {"a\ufffdb\u241b"}
