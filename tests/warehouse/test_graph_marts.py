"""Tables and marts of graphs on planted rows: books that balance pass, others do not; influence is computed again in SQL."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ato.graphs.pruning import influence, output_weights
from tests.ato.graphs.graphs_by_hand import random_graph
from tests.warehouse.graph_rows import FACTORS, attribution_of, graph_rows, write_graphs
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.catalog.catalog import rows
from warehouse.quality.checks import check_all, failures
from warehouse.quality.rules import check_rules
from warehouse.storage.warehouse import Warehouse

INFLUENCE = """
with recursive
weights as (
    select target, source, abs(weight) / greatest(sum(abs(weight)) over (partition by target), 1e-10) as share
    from graph_edges
),
flow as (
    select 0 as round, node, activation as amount from graph_nodes where kind = 'logit'
    union all
    select f.round + 1, w.source, sum(f.amount * w.share)
    from flow as f inner join weights as w on w.target = f.node
    group by f.round + 1, w.source
)
select node, coalesce(sum(amount) filter (where round > 0), 0) as influence
from graph_nodes left join flow using (node) group by node order by node
"""
"""Influence of each node by rounds: what reaches a node in round k goes to its sources in round k + 1."""

GROUPS = "a supernode has two nodes or more, all of them features of its position, each in one supernode"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A warehouse of graphs of both prompts, one of them made again later; nobody writes to it."""
    warehouse = Warehouse(tmp_path_factory.mktemp("graphs"))
    commit_stage(warehouse, "collect", write(warehouse, {"collections": collect_rows()["collections"]}))
    write_graphs(warehouse)
    write_graphs(warehouse, "graphs-2", hour=2, prompts=["river"])
    return warehouse


def offended(root, tables):
    """Rules that rows of graphs break; none of the rows is committed."""
    warehouse = Warehouse(root)
    known = write(warehouse, {"collections": collect_rows()["collections"]})
    findings = check_rules(warehouse, write(warehouse, tables, "g"), known, None)
    return {f.expectation for f in findings if not f.success}


def test_the_influence_of_a_feature_is_its_mean_share_over_the_latest_graphs_of_all_prompts(planted):
    expected: dict[tuple[int, int], float] = {}
    for prompt in FACTORS:
        graph = attribution_of(prompt)
        shares = influence(graph) / influence(graph).sum()
        for node in np.flatnonzero(graph.kind == "feature"):
            key = int(graph.layer[node]), int(graph.feature[node])
            expected[key] = expected.get(key, 0) + shares[node] / len(FACTORS)
    found = rows(planted, "from feature_influence")
    assert {(one["layer"], one["feature_id"]): one["influence"] for one in found} == pytest.approx(expected, abs=1e-9)
    assert {one["sae"] for one in found} == {"sae-layer1", "sae-layer3"}
    assert {one["n_prompts"] for one in found} == {len(FACTORS)}


def is_feature(node):
    return node["kind"] == "feature"


def is_transported_error(node):
    return node["graph_kind"] == "transport" and node["kind"] == "error"


def test_planted_rows_pass_all_checks(planted):
    assert [f for f in failures(check_all(planted)) if f["table_name"].startswith("graph")] == []


@pytest.mark.parametrize(
    ("table", "choose", "values", "expectation"),
    [
        ("graph_edges", lambda r: r["weight"] > 1, {"weight": 0.9}, "edges of a whole graph sum to the totals of their targets"),
        ("graphs", bool, {"conservation_residual": 1e-6}, "conservation_residual is at most 1e-9 in float64 and 1e-4 in float32"),
        ("graphs", bool, {"precision": "float16"}, "precision is float64, float32 or bfloat16"),
        ("graphs", bool, {"n_edges": 3}, "n_nodes and n_edges are the rows of graph_nodes and graph_edges"),
        ("graphs", bool, {"n_nodes_whole": 1}, "no more nodes and edges are kept than there are"),
        ("graph_edges", bool, {"source": 9_999}, "source and target are in graph_nodes"),
        ("graph_nodes", is_feature, {"feature_id": None}, "features have a feature_id and an activation, others no feature_id"),
        ("graph_nodes", is_transported_error, {"position": 2}, "transport stays at its position"),
        ("graph_heads", bool, {"contribution": 9.0}, "parts of heads and the direct path sum to the edge"),
        ("graph_heads", bool, {"source": 0, "target": 0}, "parts of heads and the direct path sum to the edge"),
        ("graph_heads", bool, {"direct": 0.1}, "parts of heads and the direct path sum to the edge"),
        ("graph_heads", bool, {"rest": 0.4}, "the parts of a traced score sum to it"),
        ("graph_qk", bool, {"weight": 1.9}, "the parts of a traced score sum to it"),
        ("graph_qk", bool, {"head": 1}, "the score is that of a head in graph_heads"),
        ("graph_qk", bool, {"query_kind": "logit"}, "query_kind is feature, error, token or constant"),
        ("graph_supernodes", bool, {"position": 1}, GROUPS),
        ("graph_supernodes", bool, {"node_ids": ["a", "b"]}, GROUPS),
        ("graph_supernodes", bool, {"nodes": [0], "node_ids": ["a"]}, GROUPS),
        ("graph_motifs", bool, {"n_graphs": 7}, "an edge has at most all prompts, and at least one edge in each"),
    ],
)  # fmt: skip
def test_a_rule_names_the_table_whose_rows_break_it(tmp_path, table, choose, values, expectation):
    tables = graph_rows(prompts=["river"])
    tables[table][next(i for i, r in enumerate(tables[table]) if choose(r))].update(values)
    assert expectation in offended(tmp_path, tables)


def test_rounding_of_float32_passes_as_float32_and_not_as_float64(tmp_path):
    rule = "edges of a whole graph sum to the totals of their targets"
    for precision in ("float64", "float32"):
        tables = graph_rows(prompts=["river"])
        for each in tables["graphs"]:
            each["precision"] = precision
        for each in tables["graph_edges"]:
            each["weight"] = float(np.float32(each["weight"]))
        assert offended(tmp_path / precision, tables) == ({rule} if precision == "float64" else set())


def test_the_summary_has_each_prompt_once_of_the_latest_set_that_has_it(planted):
    found = rows(planted, "select prompt, graph_kind, graph_set from graph_summary")
    assert [tuple(f.values()) for f in found] == [
        ("capital", "attribution", "graphs-1"),
        ("capital", "transport", "graphs-1"),
        ("river", "attribution", "graphs-2"),
        ("river", "transport", "graphs-2"),
    ]


def test_the_summary_counts_nodes_and_says_what_is_transport(planted):
    for prompt, factor in FACTORS.items():
        graph = attribution_of(prompt)
        (found,) = rows(planted, f"from graph_summary where prompt = '{prompt}' and graph_kind = 'attribution'")
        assert found["n_features"] == (graph.kind == "feature").sum()
        assert found["n_errors"] == (graph.kind == "error").sum()
        assert found["n_transport_errors"] == (graph.kind == "transport_error").sum()
        assert (found["n_nodes"], found["n_edges"]) == (len(graph.kind), len(graph.weight))
        size = np.abs(graph.weight[(graph.kind[graph.source] == "feature")])
        expected = (size.sum() - 1) / factor / size.sum()
        assert found["transport_share"] == pytest.approx(expected)
        assert found["share_computed"] == pytest.approx(1 - expected)
        assert found["balanced"]
        assert 0 < found["replacement"] < 1
    (transport,) = rows(planted, "from graph_summary where prompt = 'river' and graph_kind = 'transport'")
    assert transport["transport_share"] is None


def test_edge_kinds_share_out_the_weight_of_each_graph(planted):
    sums = rows(planted, "select sum(weight_share) as whole from graph_edge_kinds group by prompt, graph_kind")
    assert [s["whole"] for s in sums] == pytest.approx([1] * 4)
    graph = attribution_of("river")
    (found,) = rows(
        planted,
        "from graph_edge_kinds where prompt = 'river' and graph_kind = 'attribution' and source_kind = 'feature'",
    )
    own = graph.kind[graph.source] == "feature"
    size = np.abs(graph.weight[own])
    assert (found["target_kind"], found["n_edges"], found["n_compared"]) == ("feature", own.sum(), own.sum())
    assert found["n_same_position"] == own.sum() - 1
    assert found["absolute_weight"] == pytest.approx(size.sum())
    assert found["transport_share"] == pytest.approx((size.sum() - 1) / FACTORS["river"] / size.sum())
    others = rows(planted, "from graph_edge_kinds where source_kind <> 'feature'")
    assert {o["source_kind"] for o in others} == {"error", "transport_error", "constant"}
    assert {(o["n_compared"], o["transport_share"]) for o in others} == {(0, None)}


def test_edges_of_an_earlier_set_of_the_same_prompt_are_not_counted(planted):
    (counted,) = rows(planted, "select sum(n_edges) as n from graph_edge_kinds")
    assert counted["n"] == sum(2 * len(attribution_of(prompt).weight) - 1 for prompt in FACTORS)


def test_influence_is_computed_again_in_sql():
    graph = random_graph(4, n_features=12)
    nodes = {"node": np.arange(len(graph.kind)), "kind": graph.kind.astype(str), "activation": output_weights(graph)}
    edges = {"source": graph.source, "target": graph.target, "weight": graph.weight}
    connection = duckdb.connect()
    for name, columns in (("graph_nodes", nodes), ("graph_edges", edges)):
        connection.register(name, pa.table({key: pa.array(values.tolist()) for key, values in columns.items()}))
    found = [value for _, value in connection.sql(INFLUENCE).fetchall()]
    np.testing.assert_allclose(found, influence(graph), atol=1e-12)


def test_heads_and_direct_paths_share_out_the_parts_of_traced_edges(planted):
    found = rows(planted, "from graph_attention where prompt = 'river' order by head nulls last")
    assert {one["graph_set"] for one in found} == {"graphs-2"}
    weight = attribution_of("river").weight[-1]
    assert [(one["layer"], one["head"], one["contribution"]) for one in found] == [
        (2, 0, pytest.approx(weight)),
        (2, 1, pytest.approx(-weight / 4)),
        (None, None, pytest.approx(weight / 4)),
    ]
    assert [one["share"] for one in found] == pytest.approx([4 / 6, 1 / 6, 1 / 6])
    assert [one["n_edges"] for one in found] == [1, 1, 1]
    assert (found[0]["n_scores"], found[0]["advantage"], found[1]["advantage"]) == (1, 2.0, None)
    assert found[0]["mean_attention"] == pytest.approx(0.5)
