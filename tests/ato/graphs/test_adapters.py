"""Adapters in graphs: nodes are those of the adapted model, books balance exactly, and the base path is a choice."""

import numpy as np
import pytest
import torch

from ato.errors import MismatchError, ModelError, SAEError
from ato.graphs.adapters import adapter_features
from ato.graphs.attribution import attribute
from ato.graphs.checks import TOLERANCE, check_conservation
from ato.graphs.faithfulness import ablation_effects
from ato.graphs.heads import head_contributions
from ato.graphs.local_model import LocalModel
from ato.graphs.scores import Look, trace_scores
from ato.saes.adapter import AdapterLayer, TranscoderAdapter, adapted
from tests.ato.graphs.planted import D, random_model

IDS = [1, 40, 41, 90, 41, 17, 200, 33]
FAMILIES = ("llama", "qwen2", "gpt2", "gpt_neox")
ALL = 10_000


def random_adapter(layers, width=24, dec_bias=True):
    generator = torch.Generator().manual_seed(5)

    def draw(*shape):
        return 0.3 * torch.randn(*shape, generator=generator)

    made = {
        layer: AdapterLayer(draw(width, D), draw(width), draw(D, width), draw(D) if dec_bias else None)
        for layer in layers
    }
    return TranscoderAdapter(made)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture(scope="module", params=[True, False], ids=["base path", "no base path"])
def base_path(request):
    return request.param


def made_of(model, base_path, **options):
    adapter = random_adapter(range(model.n_layers))
    return attribute(model, IDS, adapter_features(adapter, model.parts, base_path), max_features=ALL, **options)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_edges_into_every_node_sum_to_its_value(model, base_path, precision):
    model.module.to(getattr(torch, precision))
    try:
        graph = made_of(model, base_path).graph
    finally:
        model.module.to(torch.float64)
    assert check_conservation(graph, precision) <= TOLERANCE[precision]
    assert (graph.kind == "feature").sum() > 20


def test_values_of_nodes_are_those_of_the_adapted_model(model, base_path):
    graph = made_of(model, base_path).graph
    adapter, seen = random_adapter(range(model.n_layers)), {}
    with adapted(model.parts, adapter, on_features=seen.__setitem__):
        hidden = model.run_padded(torch.tensor([IDS]), torch.tensor([len(IDS)])).hidden[0, -1]
    logits = model.logits(hidden).detach().numpy()
    own = graph.kind == "logit"
    np.testing.assert_allclose(graph.total[own], logits[graph.feature[own]] - logits.mean(), rtol=1e-4, atol=1e-5)
    features = graph.kind == "feature"
    values = np.stack([seen[layer][0].detach().numpy() for layer in range(model.n_layers)])
    assert features.sum() == (values > 0).sum()
    expected = values[graph.layer[features], graph.position[features], graph.feature[features]]
    np.testing.assert_allclose(graph.activation[features], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(graph.total[features], expected, rtol=1e-4, atol=1e-5)


def test_with_the_base_path_nothing_is_error_and_without_it_what_the_base_mlps_give(model, base_path):
    made = made_of(model, base_path)
    graph, local = made.graph, made.sources.local
    errors = graph.kind[graph.source] == "error"
    if base_path:
        assert np.abs(graph.weight[errors]).max(initial=0) <= 1e-12 * np.abs(graph.weight).max()
        return
    assert errors.any()
    for cut, layer in enumerate(local.layers):
        mlp = model.parts.submodule(layer, "mlp")
        with torch.no_grad():
            given = mlp(local.values.readings[cut])[0]
        torch.testing.assert_close(made.sources._errors[cut], given, rtol=1e-5, atol=1e-6)


def test_ablation_in_the_frozen_model_changes_targets_by_the_edges(model, base_path):
    made = made_of(model, base_path)
    edges = np.flatnonzero(made.graph.kind[made.graph.source] == "feature")
    edges = edges[:: len(edges) // 40]
    found = ablation_effects(made, edges, frozen=True)
    np.testing.assert_allclose(found, made.graph.weight[edges], rtol=1e-7, atol=1e-10)


def test_heads_and_scores_are_traced_too(model, base_path):
    made = made_of(model, base_path)
    edge = int(np.flatnonzero(made.graph.kind[made.graph.source] == "feature")[-1])
    (found,) = head_contributions(made, [edge])
    assert found.by_key.sum() + found.direct == pytest.approx(made.graph.weight[edge], rel=1e-9, abs=1e-12)
    (score,) = trace_scores(made, [Look(model.n_layers - 1, 0, 6, 2)])
    assert score.residual <= 1e-9


def test_some_layers_switched_off_or_without_a_bias_are_left_to_the_base_model(model):
    adapter = random_adapter([0, model.n_layers - 1], dec_bias=False)
    features = adapter_features(adapter.without([0]), model.parts)
    assert list(features) == [model.n_layers - 1]
    local = LocalModel(model, IDS, features)
    with adapted(model.parts, adapter.without([0])):
        hidden = model.run_padded(torch.tensor([IDS]), torch.tensor([len(IDS)])).hidden
    torch.testing.assert_close(local.values.readings[-1], hidden.detach(), rtol=1e-4, atol=1e-5)


def test_an_adapter_of_nothing_or_of_another_model_is_refused(model, tmp_path):
    with pytest.raises(SAEError, match="switched off"):
        adapter_features(random_adapter([0]).without(), model.parts)
    with pytest.raises(MismatchError, match="no layers"):
        adapter_features(random_adapter([9]), model.parts)
    wide = TranscoderAdapter({0: AdapterLayer(torch.zeros(4, 8), torch.zeros(4), torch.zeros(8, 4))})
    with pytest.raises(SAEError, match="8 wide, the model 16"):
        LocalModel(model, IDS, adapter_features(wide, model.parts))
    with pytest.raises(ModelError, match="change what their MLP"):
        adapter_features(random_adapter([0]), random_model(tmp_path, "gemma2").parts)
