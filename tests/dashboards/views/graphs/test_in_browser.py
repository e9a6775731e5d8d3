"""The viewer of graphs in a real browser: hovering, pinning, grouping, thresholds, the address, files, a phone."""

import re

import numpy as np
import pytest

from dashboards.screenshots.browser import served, settled
from dashboards.views.graphs.view_state import EDGES_SHOWN
from tests.dashboards.visited_pages import keep
from tests.warehouse.graph_rows import TOKENS, attribution_of, commit_graphs, write_graphs
from tests.warehouse.large_graph import N_EDGES, N_LOGITS, N_NODES, PROMPT, large_graph, large_graph_rows
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]
ACTIVE = """() => {
  let active = document.activeElement;
  while (active.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  return active;
}"""
"""The focused element, in whichever shadow it is."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of the pages over planted graphs, a large one among them."""
    warehouse = Warehouse(tmp_path_factory.mktemp("graphs"))
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    write_graphs(warehouse)
    commit_graphs(warehouse, "graphs-large", large_graph_rows())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(warehouse.root))
        with served(tmp_path_factory.mktemp("server") / "dashboard.log") as found:
            yield found


@pytest.fixture
def opened(visit):
    """Opens the page of a graph and waits until its viewer has drawn."""

    def open_(query="", **options):
        page = visit(f"graphs?{query}", **options)
        page.locator(".graph-viewer[data-edges]").wait_for()
        return page

    return open_


def drawn(page, what):
    """Number of drawn ``edges`` or ``nodes``, or of edges of the ``hovered`` node."""
    return int(page.locator(".graph-viewer").get_attribute(f"data-{what}"))


def wait_for_address(page, name, value):
    """Wait until a parameter of the address has a value; None: until it has none."""
    page.wait_for_function(
        "([name, value]) => new URL(location.href).searchParams.get(name) === value", arg=[name, value]
    )


def test_10_000_edges_and_500_nodes_are_drawn_and_thresholds_hide_the_weak_ones(opened, tmp_path):
    page = opened(f"prompt={PROMPT}&edges=1")
    assert (drawn(page, "nodes"), drawn(page, "edges")) == (N_NODES, N_EDGES)
    keep(page, "graphs-large", tmp_path)
    page.get_by_label("Edges by influence").fill("0.5")
    wait_for_address(page, "edges", "0.5")
    few = drawn(page, "edges")
    assert 0 < few < N_EDGES / 2
    page.get_by_label("Nodes by influence").fill("0.4")
    wait_for_address(page, "nodes", "0.4")
    assert drawn(page, "nodes") < N_NODES
    assert drawn(page, "edges") < few


BOXES = """parts => parts.map(part => part.getBoundingClientRect()).map(box => [box.left, box.right, box.top, box.bottom])"""
"""Where elements stand."""


def test_the_tokens_of_stacked_logits_are_all_read(opened, tmp_path):
    page = opened(f"prompt={PROMPT}")
    keep(page, "graphs-logits", tmp_path)
    boxes = page.locator(".node.logit text, .node.logit .shape").evaluate_all(BOXES)
    assert len(boxes) == 2 * N_LOGITS
    for i, (left, right, top, bottom) in enumerate(boxes):
        for other in boxes[:i]:
            beside = right <= other[0] + 1 or other[1] <= left + 1
            assert beside or bottom <= other[2] + 3 or other[3] <= top + 3, "letters have room above and below"


def test_hovering_a_node_draws_its_edges_and_lists_both_weights(opened):
    page = opened(f"prompt={PROMPT}")
    graph = large_graph()
    node = int(np.flatnonzero(graph.layer == 8)[3])
    page.locator(f".node[data-node='{node}'] .shape").hover()
    own = (graph.source == node) | (graph.target == node)
    assert drawn(page, "hovered") == own.sum()
    said = page.locator("aside")
    assert f"L8/{graph.feature[node]}" in said.inner_text()
    strongest = np.flatnonzero(graph.target == node)[np.abs(graph.weight[graph.target == node]).argmax()]
    first = said.locator("tr", has=page.locator("td")).first.inner_text()
    assert f"{graph.weight[strongest]:.3g}" in first


def test_pins_and_supernodes_are_in_the_address_and_come_back_from_it(opened, tmp_path):
    page = opened("prompt=capital")
    nodes = page.locator(".node.feature")
    chosen = [nodes.nth(i).get_attribute("data-id") for i in (0, 30)]
    for name in chosen:
        page.locator(f".node[data-id='{name}'] .shape").click()
    wait_for_address(page, "pinned", ",".join(chosen))
    wait_for_address(page, "clicked", chosen[1])
    page.get_by_label("Name of the supernode").fill("two of them")
    page.get_by_role("button", name="Group the ticked").click()
    page.wait_for_function("new URL(location.href).searchParams.has('supernodes')")
    settled(page)
    keep(page, "graphs-pinned", tmp_path)
    again = opened(page.url.partition("?")[2])
    assert again.locator(".node.pinned").count() == 2
    assert again.get_by_label("Name of supernode two of them").input_value() == "two of them"
    assert again.get_by_text(re.compile(rf"^Feature {chosen[1].split('_')[1]} at layer")).count() == 1
    again.get_by_role("button", name="Ungroup").click()
    wait_for_address(again, "supernodes", None)
    again.go_back()
    again.get_by_label("Name of supernode two of them").wait_for()
    again.get_by_role("button", name="Clear").click()
    wait_for_address(again, "pinned", None)
    assert again.locator(".node.pinned").count() == 0


def test_the_keyboard_reaches_nodes_and_pins_them(opened):
    page = opened("prompt=capital")
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Tab")
    at = page.evaluate_handle(ACTIVE).evaluate("element => element.dataset.id")
    page.keyboard.press("ArrowDown")
    below = page.evaluate_handle(ACTIVE).evaluate("element => element.dataset.id")
    assert at
    assert below != at
    page.keyboard.press("Enter")
    wait_for_address(page, "pinned", below)
    assert page.evaluate_handle(ACTIVE).evaluate("element => element.dataset.id") == below


def test_files_hold_what_is_shown(opened, tmp_path):
    page = opened("prompt=capital&edges=1")
    pinned = page.locator(".node.feature").first.get_attribute("data-id")
    page.locator(f".node[data-id='{pinned}'] .shape").click()
    wait_for_address(page, "pinned", pinned)
    with page.expect_download() as saved:
        page.get_by_role("button", name="SVG").click()
    assert saved.value.suggested_filename == "graph-capital-attribution.svg"
    saved.value.save_as(tmp_path / "graph.svg")
    text = (tmp_path / "graph.svg").read_text(encoding="utf-8")
    layer, feature, _ = pinned.split("_")
    assert f"L{layer}/{feature}</text>" in text
    assert f'data-id="{pinned}"' in text
    graph = attribution_of("capital")
    assert sum(len(re.findall("M", path)) for path in re.findall(r'<path d="(M[^"]*C[^"]*)" stroke=', text)) == len(
        graph.weight
    )
    assert TOKENS[1] in text
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").click()
    saved.value.save_as(tmp_path / "graph.png")
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_a_phone_gets_a_list_whose_entries_open_and_pin(opened, tmp_path):
    page = opened("prompt=capital", width=400, height=860, color_scheme="dark")
    assert not page.locator(".stage").is_visible()
    entries = page.locator(".list .item")
    assert entries.count() == len(attribution_of("capital").kind)
    first = entries.first.get_attribute("data-id")
    entries.first.click()
    page.get_by_role("button", name="Pin", exact=True).click()
    wait_for_address(page, "pinned", first)
    assert "Into it" in page.locator(".list .entry").first.inner_text()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 400, "nothing hangs out"
    keep(page, "graphs-phone", tmp_path)


def test_at_first_the_edges_with_most_of_the_influence_are_drawn(opened):
    page = opened("prompt=capital")
    assert page.get_by_label("Edges by influence").input_value() == str(EDGES_SHOWN)
    assert 0 < drawn(page, "edges") < len(attribution_of("capital").weight)


def test_a_proposed_supernode_is_taken_over(opened):
    page = opened("prompt=capital")
    proposed = page.locator("button.proposed").first
    name = proposed.inner_text().rpartition(" (")[0]
    proposed.click()
    page.get_by_label(f"Name of supernode {name}").wait_for()
    page.wait_for_function(
        "name => new URL(location.href).searchParams.get('supernodes')?.includes(JSON.stringify(name))", arg=name
    )
    assert page.locator("button.proposed", has_text=name).count() == 0
