"""Files of graphs: valid for their readers, the same graph when read again, labels at the right positions."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from ato.errors import DamagedFileError, InputError, MismatchError
from ato.graphs.circuit_tracer import (
    Captions,
    graph_document,
    node_ids,
    read_graph,
    write_graph,
)
from ato.graphs.pruning import prune
from ato.graphs.transport import transport_graph
from ato.models.loading import load_model
from ato.text.token_texts import TokenTexts
from tests.ato.graphs.graphs_by_hand import graph_of, operator_of, random_graph, sites_of
from tests.tiny_models import save_tiny_model

SCHEMA = json.loads((Path(__file__).parent / "neuronpedia_graph_schema.json").read_text())
CAPTIONS = Captions(
    "ato__france",
    "<bos>The capital",
    ("<bos>", "The", " capital"),
    "./data/features/0123456789abcdef",
    {40: ' "Paris"', 41: "\n"},
    {(0, 3): 'says "(p=1)" or é'},
    0.8,
    0.98,
)
NODE = {
    *("node_id", "feature", "layer", "ctx_idx", "feature_type", "token_prob", "is_target_logit", "run_idx"),
    *("reverse_ctx_idx", "jsNodeId", "clerp", "influence", "activation"),
}


@pytest.fixture(scope="module")
def transport():
    """A graph with both kinds of errors at the same layers and positions."""
    sites = sites_of((0, 1, 3), n_tokens=3)
    return transport_graph(sites, [operator_of(0, 1), operator_of(1, 3)], (1, 5, 6))


@pytest.fixture(scope="module")
def graphs(transport):
    return [random_graph(0), prune(random_graph(1)).graph, transport, prune(transport).graph]


def test_files_are_valid_under_neuronpedias_schema(graphs):
    for graph in graphs:
        document = json.loads(json.dumps(graph_document(graph, CAPTIONS), allow_nan=False))
        jsonschema.Draft7Validator(SCHEMA).validate(document)
        without = replace(CAPTIONS, node_threshold=None, edge_threshold=None)
        jsonschema.Draft7Validator(SCHEMA).validate(graph_document(graph, without))
        assert all(set(node) == NODE for node in document["nodes"])


def test_every_link_has_its_nodes_and_every_node_its_own_name(graphs):
    for graph in graphs:
        document = graph_document(graph, CAPTIONS)
        names = [node["node_id"] for node in document["nodes"]]
        assert len(set(names)) == len(names)
        assert {end for link in document["links"] for end in (link["source"], link["target"])} <= set(names)


def test_a_graph_read_again_is_the_graph_that_was_written(graphs, tmp_path):
    for graph in graphs:
        again, captions = read_graph(write_graph(tmp_path, graph, CAPTIONS))
        assert again.token_ids == graph.token_ids
        for name in ("kind", "layer", "position", "activation", "influence", "source", "target", "weight"):
            np.testing.assert_array_equal(getattr(again, name), getattr(graph, name), name)
        named = np.isin(graph.kind, ("feature", "logit"))
        np.testing.assert_array_equal(again.feature[named], graph.feature[named])
        assert (again.feature[~named] == -1).all()
        assert np.isnan(again.total).all()
        assert captions.tokens == CAPTIONS.tokens
        assert (captions.node_threshold, captions.edge_threshold) == (0.8, 0.98)


def test_captions_read_again_are_those_written(tmp_path):
    _, captions = read_graph(write_graph(tmp_path, random_graph(), CAPTIONS))
    assert captions == CAPTIONS


def test_names_are_those_that_circuit_tracer_gives():
    graph = graph_of(
        ["token", "feature", "error", "logit"],
        [],
        layer=[-1, 2, 2, 4],
        position=[1, 1, 1, 2],
        feature=[-1, 2, -1, 40],
        activation=[np.nan, 3.0, np.nan, 0.25],
    )
    document = graph_document(graph, CAPTIONS)
    assert [node["node_id"] for node in document["nodes"]] == ["E_5_1", "2_2_1", "2_-1_1", "5_40_2"]
    assert [node["jsNodeId"] for node in document["nodes"]] == ["E_5-1", "2_2-0", "2_-1-1", "L_40-2"]
    assert [node["feature"] for node in document["nodes"]] == [1, 12, -1, 40]
    assert [node["layer"] for node in document["nodes"]] == ["E", "2", "2", "5"]
    assert [node["is_target_logit"] for node in document["nodes"]] == [False, False, False, True]


def test_errors_of_saes_and_of_operators_and_constants_are_told_apart(transport):
    nodes = graph_document(transport, CAPTIONS)["nodes"]
    labels = {node["clerp"] for node in nodes if node["feature_type"] == "mlp reconstruction error"}
    assert labels == {"SAE error", "transport error", "constant (biases)"}


def test_logits_have_the_label_of_the_token_that_their_position_predicts(tmp_path):
    """A case of hijohnnylin/neuronpedia#213: a second BOS moved every label by one."""
    import torch

    model = load_model(save_tiny_model(tmp_path / "model", n_layers=2, d_model=16))
    ids = np.array([1, *model.tokenizer("The capital")["input_ids"]])
    with torch.no_grad():
        logits = model.module(torch.tensor(ids[None])).logits[0].double()
    best = logits.softmax(-1)[-1].topk(3)
    texts = TokenTexts(model.tokenizer)
    graph = graph_of(
        ["token"] * len(ids) + ["logit"] * 3,
        [],
        token_ids=tuple(ids.tolist()),
        layer=[-1] * len(ids) + [2] * 3,
        position=[*range(len(ids)), *[len(ids) - 1] * 3],
        feature=[-1] * len(ids) + best.indices.tolist(),
        activation=[np.nan] * len(ids) + best.values.tolist(),
    )
    words = dict(zip(best.indices.tolist(), texts.of(best.indices.numpy()), strict=True))
    captions = Captions("tiny", "The capital", tuple(texts.of(ids)), logits=words)
    document = graph_document(graph, captions)
    tokens = document["metadata"]["prompt_tokens"]
    assert tokens[0] == "<bos>"
    assert "".join(tokens[1:]) == "The capital"
    assert len(tokens) == len(ids)
    first = next(node for node in document["nodes"] if node["feature_type"] == "logit")
    (greedy,) = texts.of(logits[-1].argmax()[None].numpy())
    assert first["clerp"] == f'Output "{greedy}" (p={float(best.values[0]):.3f})'
    assert first["ctx_idx"] == len(ids) - 1


def test_a_folders_list_has_each_graph_once_and_the_latest(tmp_path):
    write_graph(tmp_path, random_graph(), CAPTIONS)
    write_graph(tmp_path, random_graph(), replace(CAPTIONS, slug="other"))
    path = write_graph(tmp_path, random_graph(), replace(CAPTIONS, prompt="again"))
    listed = json.loads((tmp_path / "graph-metadata.json").read_text())["graphs"]
    assert [entry["slug"] for entry in listed] == ["other", "ato__france"]
    assert listed[1] == json.loads(path.read_text())["metadata"]
    assert {file.name for file in tmp_path.iterdir()} == {"ato__france.json", "other.json", "graph-metadata.json"}


def test_equal_graphs_are_equal_files(tmp_path):
    written = [write_graph(tmp_path / name, random_graph(), CAPTIONS).read_bytes() for name in "ab"]
    assert written[0] == written[1]


def test_graphs_of_older_programs_are_read(tmp_path):
    """Decimal feature numbers, errors named ``0_L_p``, no activations, and a link to nowhere."""
    nodes = [
        {"node_id": "E_9_0", "feature": 0, "layer": "E", "ctx_idx": 0, "feature_type": "embedding"},
        {"node_id": "23_5458_0", "feature": 2305458, "layer": "23", "ctx_idx": 0},
        {"node_id": "0_23_0", "feature": -1, "layer": "23", "ctx_idx": 0, "feature_type": "mlp reconstruction error"},
        {"node_id": "27_7_0", "feature": 7, "layer": 27, "ctx_idx": 0, "feature_type": "logit"},
    ]
    nodes = [{"feature_type": "cross layer transcoder", "jsNodeId": "", "clerp": ""} | node for node in nodes]
    links = [{"source": "E_9_0", "target": "23_5458_0", "weight": 2}, {"source": "x", "target": "y", "weight": 1}]
    metadata = {"slug": "old", "scan": "gemma", "prompt_tokens": ["a"], "prompt": "a"}
    (tmp_path / "old.json").write_text(
        json.dumps({"metadata": metadata, "qParams": {}, "nodes": nodes, "links": links})
    )
    graph, captions = read_graph(tmp_path / "old.json")
    assert graph.kind.tolist() == ["token", "feature", "error", "logit"]
    assert graph.layer.tolist() == [-1, 23, 23, 26]
    assert graph.feature.tolist() == [-1, 5458, -1, 7]
    assert graph.token_ids == (9,)
    assert graph.weight.tolist() == [2]
    assert captions.scan == "gemma"


def test_an_empty_graph_is_a_file(tmp_path):
    graph = graph_of([], [], token_ids=())
    again, _ = read_graph(write_graph(tmp_path, graph, Captions("empty", "", ())))
    assert len(again.kind) == 0


def test_what_would_make_a_wrong_file_is_refused_in_one_line():
    graph = random_graph()
    cases = [
        (MismatchError, graph, {"tokens": ("<bos>", "<bos>", "The", " capital")}, "4 texts for the 3 tokens"),
        (MismatchError, graph, {"logits": {40: "a"}}, "no text for the logit of token 41"),
        (InputError, graph, {"slug": "../../etc"}, "unusable slug"),
        (InputError, replace(graph, position=graph.position + 1), {}, "beyond the prompt"),
        (InputError, replace(graph, activation=graph.activation * 50), {}, "for a probability"),
        (InputError, graph_of(["error", "error"], []), {}, "one node twice"),
    ]
    for error, given, values, message in cases:
        with pytest.raises(error, match=message) as caught:
            graph_document(given, replace(CAPTIONS, **values))
        assert "\n" not in str(caught.value)


def test_what_is_no_graph_is_damaged_and_what_is_missing_is_said(tmp_path):
    path = tmp_path / "graph.json"
    with pytest.raises(InputError, match="no such file"):
        read_graph(path)
    for content in ("{", "[]", "{}", '{"metadata": {}, "nodes": [{}], "links": []}'):
        path.write_text(content)
        with pytest.raises(DamagedFileError):
            read_graph(path)
    document = graph_document(random_graph(), CAPTIONS)
    document["nodes"][9]["feature_type"] = "lorsa"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="attention features"):
        read_graph(path)


def test_names_follow_the_nodes():
    graph = random_graph()
    assert node_ids(graph) == [node["node_id"] for node in graph_document(graph, CAPTIONS)["nodes"]]
