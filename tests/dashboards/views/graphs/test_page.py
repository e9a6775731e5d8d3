"""The page of graphs on planted ones: what its panels show is what SQL gives, and the address says which graph."""

from typing import Any

import pytest
import streamlit as st

from dashboards.views.graphs import viewer
from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels
from tests.warehouse.graph_rows import FACTORS, TOKENS
from tests.warehouse.small_warehouse import COLLECTION, collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse

N_PANELS = 8


@pytest.fixture(scope="module")
def shown(study_root):
    """The panels of the page as it opens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(study_root))
        patch.setattr("dashboards.ui.panels.OPENED", True)
        return check_numbers(open_page("graphs"))


def test_the_checks_of_a_planted_graph_stand_on_the_page(shown):
    assert len(shown) == N_PANELS
    of = shown["Checks"].rows.row(0, named=True)
    assert of["balanced"] is True
    assert of["conservation_residual"] <= 1e-9
    assert f"{of['transport_share']:.0%}" in shown["Checks"].metrics


def test_the_share_of_each_planted_edge_is_one_over_its_factor(shown):
    rows = shown["Strongest edges"].rows
    shares = rows["transport_share"].drop_nulls().unique().to_list()
    assert shares == pytest.approx([1 / FACTORS["capital"]])
    sizes = rows["weight"].abs().to_list()
    assert sizes == sorted(sizes, reverse=True)


def test_all_graphs_are_listed_and_motifs_count_their_prompts(shown):
    listed = shown["Graphs of this collection"].rows
    expected = [(prompt, kind) for prompt in sorted(FACTORS) for kind in ("attribution", "transport")]
    assert listed.select("prompt", "graph_kind").rows() == expected
    motifs = shown["Edges that recur over prompts"].rows
    assert set(motifs["n_prompts"]) == {len(FACTORS)}


def test_the_address_says_which_graph_and_which_node(study):
    nodes = panels(open_page("graphs", prompt="river"))["Graph"].rows
    clicked = nodes.filter(nodes["kind"] == "feature").row(-1, named=True)
    app = open_page("graphs", prompt="river", graph_kind="transport", clicked=clicked["node_id"])
    assert not app.error
    found = panels(app)
    of = found["Feature of the clicked node"].rows.row(0, named=True)
    assert (of["layer"], of["feature_id"]) == (clicked["layer"], clicked["feature_id"])
    assert found["Strongest edges"].rows["transport_share"].null_count() == found["Strongest edges"].rows.height


@pytest.mark.parametrize("address", [{"prompt": "no such"}, {"clicked": "'"}, {"supernodes": "[["}, {"nodes": "much"}])
def test_an_address_that_makes_no_sense_opens_the_page_as_it_is_at_first(study, address):
    app = open_page("graphs", **address)
    assert not app.error
    assert panels(app)["Checks"].rows.height == 1


def test_without_graphs_the_page_says_how_to_make_one(empty):
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    app = open_page("graphs")
    assert not app.error
    assert any("ato graph" in text for text in messages(app))


def test_heads_of_an_edge_stand_beside_what_they_asked_and_what_answered(shown):
    heads = shown["Attention heads of edges"].rows
    assert heads.select("layer", "head").rows() == [(2, 0), (2, 1)]
    of = heads.row(0, named=True)
    assert of["contribution"] + heads["contribution"][1] == pytest.approx(0.75 * of["weight"])
    assert (of["looked_at"], of["score"]) == (TOKENS[0], 3.0)
    pairs = shown["Query and key components of these heads"].rows
    assert pairs.select("asked", "answered", "weight").rows()[0] == ("L1/3 at 0", "constant at 0", 2.0)


def test_heads_are_those_of_the_edges_of_the_clicked_node(study, shown):
    edge = shown["Attention heads of edges"].rows.row(0, named=True)
    nodes = shown["Graph"].rows
    for end, n_heads in (("source", 2), ("target", 2), ("neither", 0)):
        of = [
            row["node_id"] for row in nodes.to_dicts() if row["feature_id"] is not None and _name(row) == edge.get(end)
        ]
        clicked = of[0] if of else nodes.filter(nodes["kind"] == "constant")["node_id"][0]
        assert panels(open_page("graphs", clicked=clicked))["Attention heads of edges"].rows.height == n_heads


def _name(node: dict[str, Any]) -> str:
    return f"L{node['layer']}/{node['feature_id']:.0f} at {node['position']} {node['token']}"


def test_what_the_viewer_is_given_after_it_told_of_a_view_differs_even_if_the_view_is_the_old_one(study, monkeypatch):
    """A reader who goes back before the answer to a click has come would else see what the address does not say."""
    given = []
    nodes = panels(open_page("graphs", prompt="river"))["Graph"].rows
    about = {"collection": COLLECTION, "graph_set": "graphs-1", "prompt": "river", "graph_kind": "attribution"}
    key = f"{viewer.KEY} graphs-1 attribution"
    monkeypatch.setattr(st, "session_state", {key: {"view": {"pinned": [nodes["node_id"][0]]}}})
    monkeypatch.setattr(st, "query_params", {})
    monkeypatch.setattr(viewer, "_component", lambda: lambda **options: given.append(options["data"]))
    viewer._draw(about, nodes)
    viewer._note(key, nodes["node_id"].to_list())
    st.query_params.clear()
    viewer._draw(about, nodes)
    before, after = given
    assert before["view"] == after["view"]
    assert before != after
