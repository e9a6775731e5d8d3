"""circuit-tracer's own page shows the files of our graphs: nodes, labels, examples of features, supernodes; offline.

Its files are those of the package, as installed (MIT); it is not imported, but for the models of its files. What the page
would load from elsewhere lies in ``page_libraries``: d3 7.9.0 (ISC), d3-jetpack 2.3.0 (BSD) and dagre 0.8.5 (MIT), as published.
"""

import importlib.util
import json
import mimetypes
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import quote, urlparse

import numpy as np
import pytest

from ato.features.exports.cantor import cantor_id
from ato.features.exports.feature_page import ExampleGroup, FeaturePage
from ato.graphs.circuit_tracer import Captions, node_ids, write_graph
from ato.graphs.feature_panels import write_panels
from ato.graphs.pruning import prune
from ato.graphs.supernodes import View, save_view
from dashboards.screenshots.browser import browser
from tests.ato.features.exports.pages import excerpt
from tests.ato.graphs.graphs_by_hand import random_graph

ADDRESS = "http://page.test"
"""Of nobody: each request is answered here."""
FRONTEND = Path(str(distribution("circuit-tracer").locate_file("circuit_tracer/frontend")))
LIBRARIES = Path(__file__).parent / "page_libraries"
ELSEWHERE = {
    "d3.js": (LIBRARIES / "d3.min.js").read_text(encoding="utf-8"),
    "jetpack_2024-07-20.js": (LIBRARIES / "joined.js")
    .read_text(encoding="utf-8")
    .replace("/* jetpack */", (LIBRARIES / "d3-jetpack.cjs").read_text(encoding="utf-8")),
    "dagre.min.js": (LIBRARIES / "dagre.min.js").read_text(encoding="utf-8"),
    # Of reloading while one writes the page, of arrays and of compressed features: none of it is in our files.
    **dict.fromkeys(("hotserver-client-ws.js", "npy_v0.js", "pako.min.js"), ""),
}
"""Name of a script -> its content."""
GRAPH = prune(random_graph(), node_threshold=1.0, edge_threshold=1.0).graph
TOKENS = ("<bos>", "The", " capital")
NAMES = node_ids(GRAPH)
FEATURES = [name for name, kind in zip(NAMES, GRAPH.kind, strict=True) if kind == "feature"]
LABEL = "names of “capital” <b>cities</b>"


def features():
    """Layer and number of the graph's features."""
    own = GRAPH.kind == "feature"
    return list(zip(GRAPH.layer[own].tolist(), GRAPH.feature[own].tolist(), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of a graph with a label, two supernodes and a panel of each feature."""
    folder = tmp_path_factory.mktemp("graphs")
    pages = [
        FeaturePage(
            layer,
            feature,
            "sae",
            top_tokens=(" court",),
            top_logits=(1.0,),
            groups=(ExampleGroup("top", (excerpt(("Rome", f" of {feature}"), (0.0, 2.5), 1),)),),
        )
        for layer, feature in features()
    ]
    logits = {40: " Paris", 41: "\n"}
    labels = {features()[0]: LABEL}
    captions = Captions("ato__france", "<bos>The capital", TOKENS, write_panels(folder, pages), logits, labels, 1.0)
    path = write_graph(folder, GRAPH, captions)
    save_view(path, View().group("two features", FEATURES[:2]))
    return folder


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def visit(chromium, folder):
    """Opens the page at an address; in the end asserts that nothing was missing and no script complained."""
    missing, complaints, opened = [], [], []

    def answer(route):
        url = urlparse(route.request.url)
        name = url.path.removeprefix("/")
        if not route.request.url.startswith(ADDRESS):
            known = ELSEWHERE.get(url.path.rsplit("/", 1)[-1])
            route.abort() if known is None else route.fulfill(body=known, content_type="text/javascript")
            missing.extend([route.request.url] if known is None else [])
            return
        root = folder if name.startswith(("data/", "graph_data/")) else FRONTEND / "assets"
        path = root / (name.split("/", 1)[1] if root == folder else name or "index.html")
        if path.is_file():
            route.fulfill(body=path.read_bytes(), content_type=mimetypes.guess_type(path)[0] or "text/plain")
        else:
            missing.extend([] if name == "favicon.ico" else [name])
            route.fulfill(status=404)

    def make(query=""):
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.route("**/*", answer)
        opened.append(page)
        page.goto(f"{ADDRESS}/{query}")
        page.locator(".link-graph .node").first.wait_for(state="attached")
        return page

    yield make
    for page in opened:
        page.close()
    assert not missing, "all that the page asks for is here"
    assert not complaints


def test_circuit_tracers_own_models_read_the_files(folder):
    spec = importlib.util.spec_from_file_location("graph_models", FRONTEND / "graph_models.py")
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    content = json.loads((folder / "ato__france.json").read_text())
    read = models.Model.model_validate(content)
    assert [node.node_id for node in read.nodes] == NAMES
    assert [link["weight"] for link in read.links] == GRAPH.weight.tolist()
    assert read.metadata.prompt_tokens == list(TOKENS)
    for layer, feature in features():
        theirs = models.Node.feature_node(layer, 0, feature)
        assert theirs.feature == cantor_id(layer, feature)


@pytest.mark.platform
def test_its_page_shows_every_node_at_its_layer_and_the_words_of_the_prompt(visit):
    page = visit()
    places = places_of_nodes(page)
    assert sorted(places) == sorted(NAMES)
    floors = [0 if name.startswith("E_") else 1 + int(name.split("_")[0]) for name in NAMES]
    rank = np.unique(floors, return_inverse=True)[1]
    height = np.array([places[name]["y"] for name in NAMES])
    lowest, highest = (np.array([some(height[rank == one]) for one in range(rank.max() + 1)]) for some in (max, min))
    assert (highest[:-1] > lowest[1:]).all(), "each layer above the one before it"
    words = page.locator(".link-graph").text_content()
    assert all(token.strip() in words for token in (*TOKENS, "Paris"))


@pytest.mark.platform
def test_a_click_on_a_feature_opens_its_label_its_edges_and_its_examples_from_the_local_file(visit):
    page = visit()
    place = places_of_nodes(page)[FEATURES[0]]
    page.mouse.click(place["x"], place["y"])
    detail = page.locator(".feature-detail")
    examples = detail.locator(".feature-example-list .ctx-container")
    examples.first.wait_for()
    assert detail.locator(".pp-clerp").inner_text() == LABEL
    assert examples.first.inner_text() == f"Rome of {features()[0][1]}"
    assert "Top activations" in detail.inner_text()
    assert "court" in detail.locator(".feature-example-logits").text_content()
    rows = page.locator(".features.output .feature-row")
    listed = rows.evaluate_all("rows => rows.map(row => d3.select(row).datum().nodeId)")
    assert sorted(listed) == sorted(NAMES[end] for end in GRAPH.target[GRAPH.source == NAMES.index(FEATURES[0])])


@pytest.mark.platform
def test_pinned_nodes_of_the_file_and_a_supernode_of_the_address_are_drawn_as_a_subgraph(visit):
    """Its page takes supernodes from the address alone: those of a file are single nodes."""
    assert visit().locator(".subgraph .supernode-container").count() == 2
    grouped = visit(f"?supernodes={quote(json.dumps([['two features', *FEATURES[:2]]]))}").locator(".subgraph")
    assert grouped.locator(".supernode-container").count() == 1
    assert "two features" in grouped.inner_text()


def places_of_nodes(page):
    """Name of each node -> the middle of its mark."""
    found = page.locator(".link-graph .node").evaluate_all(
        """nodes => nodes.map(node => {
            const {x, y, width, height} = node.getBoundingClientRect();
            return [d3.select(node).datum().nodeId, {x: x + width / 2, y: y + height / 2}];
        })"""
    )
    assert len(dict(found)) == len(found)
    return dict(found)
