"""The stage ``graphs`` on a tiny model: books balance in the tables, files hold what rows hold, nothing is made twice."""

import numpy as np
import pytest

from ato.errors import InputError
from ato.graphs.circuit_tracer import METADATA, read_graph
from ato.graphs.json_files import read_json
from ato.graphs.supernodes import load_view, save_view
from tests.tasks.graphs.small_graphs import collected, graph_settings, graphs
from warehouse.catalog.catalog import rows
from warehouse.quality.checks import check_all, failures
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, collection, SAEs and graphs of a run; the warehouse is the one of the environment meanwhile."""
    folder = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = graph_settings(folder)
        collection, saes = collected(settings)
        yield settings, collection, saes, graphs(settings, collection, saes)


def test_each_prompt_has_an_attribution_and_a_transport_graph_that_conserve(study):
    found = rows(None, "from graphs order by graph_set, graph_kind")
    assert [row["graph_kind"] for row in found] == ["attribution", "transport"] * 3
    for row in found:
        assert row["conservation_residual"] <= (1e-9 if row["precision"] == "float64" else 1e-4)
        if row["graph_kind"] == "attribution":
            assert row["repeat_difference"] <= 1e-4
            assert row["frozen_gap"] <= 1e-4
            assert row["n_ablated"] == 6
            assert 0 < row["transport_share"] <= row["same_position_share"] < 1
        else:
            assert len(row["operators"]) == 2, "into layer 4 from 2, the nearest, and not from 1 as well"
    assert failures(check_all(Warehouse())) == []


def test_kept_edges_and_what_was_cut_sum_to_the_value_of_each_node(study):
    found = rows(
        None,
        """select n.graph_set, n.graph_kind, n.node, n.total, n.pruned_weight, n.absolute_weight, coalesce(sum(e.weight), 0) as kept
        from graph_nodes as n
        left join graph_edges as e on e.graph_set = n.graph_set and e.graph_kind = n.graph_kind and e.target = n.node
        where n.total is not null group by all""",
    )
    assert len(found) > 20
    for row in found:
        assert abs(row["kept"] + row["pruned_weight"] - row["total"]) <= 1e-4 * max(
            row["absolute_weight"], abs(row["total"])
        )


def test_a_difference_has_one_logit_and_given_targets_have_one_each(study):
    found = rows(None, "select text, targets from graphs where graph_kind = 'attribution' order by text")
    assert [row["targets"] for row in found if row["text"] == "the law of peace"] == [["a − e"]]
    assert [row["targets"] for row in found if row["text"] == "the people of the states"] == [["a", "e"]]


def test_files_hold_the_nodes_and_edges_of_the_tables(study):
    for row in rows(None, "from graphs"):
        folder = Warehouse().artifact_path(*row["path"].split("/")[1:])
        assert len(read_json(folder / METADATA, dict)["graphs"]) == 2
        graph, captions = read_graph(folder / f"{row['graph_kind']}-{row['graph_set']}.json")
        assert graph.token_ids == tuple(row["token_ids"])
        assert (len(graph.kind), len(graph.weight)) == (row["n_nodes"], row["n_edges"])
        kept = rows(
            None,
            "select weight from graph_edges where graph_set = ? and graph_kind = ? order by source, target",
            [row["graph_set"], row["graph_kind"]],
        )
        order = np.lexsort((graph.target, graph.source))
        np.testing.assert_allclose(graph.weight[order], [one["weight"] for one in kept])
        panels = folder / "features" / captions.scan.rsplit("/", 1)[1]
        shown = rows(
            None,
            "select distinct layer, feature_id from graph_nodes where graph_set = ? and kind = 'feature'",
            [row["graph_set"]],
        )
        assert len(list(panels.glob("*.json"))) == len(shown)


def test_motifs_are_the_edges_that_several_prompts_have(study):
    *_, keys = study
    edges = rows(
        None,
        """select e.graph_kind, s.position = t.position as same_position, s.layer as a, s.feature_id as b,
            t.layer as c, t.feature_id as d, count(distinct e.graph_set) as n, count(*) as m, avg(e.weight) as weight from graph_edges as e
        inner join graph_nodes as s on s.graph_set = e.graph_set and s.graph_kind = e.graph_kind and s.node = e.source
        inner join graph_nodes as t on t.graph_set = e.graph_set and t.graph_kind = e.graph_kind and t.node = e.target
        where s.kind = 'feature' and t.kind = 'feature' group by all having n > 1""",
    )
    names = ("graph_kind", "same_position", "source_layer", "source_feature", "target_layer", "target_feature")
    found = {tuple(row[name] for name in names): row for row in rows(None, "from graph_motifs")}
    assert len(found) == len(edges) > 0
    for edge in edges:
        row = found[tuple(edge[name] for name in ("graph_kind", "same_position", "a", "b", "c", "d"))]
        assert (row["n_graphs"], row["n_edges"], row["n_prompts"]) == (edge["n"], edge["m"], len(keys))
        assert row["weight"] == pytest.approx(edge["weight"])


def test_a_second_run_does_nothing_and_another_prompt_is_made_alone(study):
    settings, collection, saes, keys = study
    before = {(run.stage, run.key) for run in manifests(Warehouse())}
    assert graphs(settings, collection, saes, batch_size=3) == keys
    assert {(run.stage, run.key) for run in manifests(Warehouse())} == before
    prompts = [*settings.graphs.model_dump()["prompts"], {"text": "war and peace"}]
    new = graphs(settings, collection, saes, prompts=prompts)
    assert new[:3] == keys
    made = {(run.stage, run.key) for run in manifests(Warehouse())} - before
    assert {stage for stage, _ in made} == {"graphs", "graph_motifs"}
    assert {key for stage, key in made if stage == "graphs"} == {new[3]}


def test_a_folder_of_texts_is_explained_by_their_last_tokens_without_the_newline_at_the_end(study, tmp_path):
    settings, collection, saes, _ = study
    (tmp_path / "one.txt").write_text("the law of states\n")
    (key,) = graphs(settings, collection, saes, prompts=[], prompts_from=str(tmp_path), kinds=["attribution"])
    (row,) = rows(None, "from graphs where graph_set = ?", [key])
    assert "".join(row["tokens"]) == "the law of state"
    assert (row["targets"], row["prompt"], row["transport_share"]) == (["s"], "one", None)


def test_in_float64_the_books_balance_to_its_precision(study):
    settings, collection, saes, _ = study
    (key,) = graphs(
        settings, collection, saes, prompts=[{"text": "the war"}], precision="float64", kinds=["attribution"]
    )
    (row,) = rows(None, "from graphs where graph_set = ?", [key])
    assert row["precision"] == "float64"
    assert row["conservation_residual"] <= 1e-9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": [{"text": "t"}]}, "the prompt has 1 token in all"),
        ({"prompts": [{"text": "the law", "targets": ["states"]}]}, "target 'states' is 6 tokens"),
        ({"layers": [3]}, r"use layers of \[1, 2, 4\]"),
        ({"transcoders": ["nothing"]}, "no study of the collection has a transcoder 'nothing'"),
        ({"prompts_from": "nowhere"}, "there is no such file or folder"),
    ],
)
def test_what_has_no_graph_is_refused_in_one_line(study, changes, message):
    settings, collection, saes, _ = study
    with pytest.raises(InputError, match=message):
        graphs(settings, collection, saes, **changes)


def test_proposed_supernodes_are_in_the_tables_and_in_the_files(study):
    found = rows(None, "from graph_supernodes order by graph_set, graph_kind, supernode")
    assert found, "no group in any graph"
    for row in rows(None, "from graphs"):
        own = [one for one in found if (one["graph_set"], one["graph_kind"]) == (row["graph_set"], row["graph_kind"])]
        folder = Warehouse().artifact_path(*row["path"].split("/")[1:])
        path = folder / f"{row['graph_kind']}-{row['graph_set']}.json"
        view = load_view(path)
        assert view.supernodes == {one["name"]: tuple(one["node_ids"]) for one in own}
        assert set(view.pinned) == {node for one in own for node in one["node_ids"]}
        assert read_graph(path)[1].supernodes == view.supernodes
        save_view(path, view)
        assert all(one["cosine"] >= 0.3 - 1e-9 for one in own)


def test_parts_of_heads_and_the_direct_path_sum_to_the_edges_of_the_tables(study):
    found = rows(
        None,
        """select e.graph_set, e.weight, h.direct, s.position = t.position as same_position,
            sum(h.contribution) as heads, sum(abs(h.contribution)) as size, count(distinct h.layer) as n_layers,
            t.layer - s.layer as leap, t.kind as kind, bool_and(h.attention > 0) as seen
        from graph_edges as e
        inner join graph_heads as h using (collection, graph_set, prompt, graph_kind, source, target)
        inner join graph_nodes as s on s.graph_set = e.graph_set and s.graph_kind = e.graph_kind and s.node = e.source
        inner join graph_nodes as t on t.graph_set = e.graph_set and t.graph_kind = e.graph_kind and t.node = e.target
        group by all""",
    )
    assert len(found) >= 30
    assert {row["same_position"] for row in found} == {True, False}
    for row in found:
        gap = abs(row["heads"] + row["direct"] - row["weight"])
        assert gap <= 1e-4 * max(abs(row["weight"]), row["size"] + abs(row["direct"]))
        assert row["same_position"] or abs(row["direct"]) <= 1e-6
        assert row["n_layers"] == (row["leap"] if row["kind"] == "feature" else row["leap"] - 1)


def test_pairs_and_their_rest_sum_to_the_scores_that_heads_have(study):
    found = rows(
        None,
        """select graph_set, h.layer, h.head, h.target, h.key_position, any_value(h.score) as score, any_value(h.rest) as rest,
            any_value(t.position) as query_position
        from graph_heads as h inner join graph_nodes as t using (collection, graph_set, prompt, graph_kind)
        where t.node = target and score is not null group by all""",
    )
    assert found
    for row in found:
        key = [row[name] for name in ("graph_set", "layer", "head", "query_position", "key_position")]
        where = "graph_set = ? and layer = ? and head = ? and query_position = ? and key_position = ?"
        pairs = rows(None, f"from graph_qk where {where} order by pair", key)
        weights = np.array([pair["weight"] for pair in pairs])
        assert len(pairs) <= 20
        assert np.all(np.diff(np.abs(weights)) <= 1e-12)
        size = max(np.abs(weights).sum() + abs(row["rest"]), abs(row["score"]))
        assert abs(weights.sum() + row["rest"] - row["score"]) <= 1e-4 * size
        for pair in pairs:
            assert pair["query_node_position"] <= row["query_position"]
            assert pair["key_node_position"] <= row["key_position"]


def test_without_a_budget_nothing_is_traced(study):
    settings, collection, saes, _ = study
    none = {"n_traced_edges": 0, "supernode_cosine": None, "n_ablations": 0, "repeat": False}
    (key,) = graphs(settings, collection, saes, prompts=[{"text": "the law of war"}], **none)
    for table in ("graph_heads", "graph_qk", "graph_supernodes"):
        assert rows(None, f"from {table} where graph_set = ?", [key]) == []
