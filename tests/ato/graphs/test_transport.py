"""Transport graphs: their edges are the formula's, and sum to the pre-activation exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ato.errors import InputError, MismatchError, SAEError
from ato.graphs.checks import conservation_residual
from ato.graphs.transport import Site, transport_graph
from tests.ato.graphs.graphs_by_hand import linear_toy, operator_of, sae_of, sites_of

TOKENS = (1, 7, 8, 9, 7)


@pytest.fixture(scope="module")
def sites():
    """Four layers, of two widths; odd ones do not subtract b_dec from their input."""
    return sites_of((0, 2, 3, 5), widths={5: 4})


@pytest.fixture(scope="module")
def operators():
    return [operator_of(0, 2, seed=1), operator_of(2, 3, seed=2), operator_of(2, 5, d_out=4, seed=3)]


@pytest.fixture(scope="module")
def graph(sites, operators):
    return transport_graph(sites, operators, TOKENS)


def test_edges_and_constants_sum_to_the_pre_activation_of_the_true_residual(graph, sites):
    targets = ~np.isnan(graph.total)
    assert set(graph.layer[targets]) == {2, 3, 5}
    assert conservation_residual(graph)[targets].max() <= 1e-9
    for layer, site in sites.items():
        at = targets & (graph.layer == layer)
        pre = site.sae.pre_activations(site.residual).numpy()[graph.position[at], graph.feature[at]]
        np.testing.assert_allclose(graph.total[at], pre, rtol=1e-4, atol=1e-4)


def test_each_edge_is_the_formula_written_out(graph, sites, operators):
    by_pair = {(o.source_layer, o.target_layer): o for o in operators}
    into = {o.target_layer: o for o in operators}
    for j, t, weight in zip(graph.source, graph.target, graph.weight, strict=True):
        p, layer = graph.position[t], graph.layer[t]
        assert graph.position[j] == p
        e_t = sites[layer].sae.W_enc[:, graph.feature[t]].double().numpy()
        operator = into[layer]
        lower, x = sites[operator.source_layer].sae, sites[operator.source_layer].residual
        if graph.kind[j] == "feature":
            operator = by_pair[graph.layer[j], layer]
            d_j = lower.W_dec[graph.feature[j]].double().numpy()
            expected = graph.activation[j] * e_t @ (operator.matrix @ d_j)
        elif graph.kind[j] == "error":
            expected = e_t @ operator.matrix @ (x - lower.reconstruct(x))[p].double().numpy()
        elif graph.kind[j] == "transport_error":
            assert graph.layer[j] == layer
            expected = e_t @ (sites[layer].residual[p].double().numpy() - operator(x[p].double().numpy()))
        else:
            expected = e_t @ (operator.matrix @ lower.b_dec.double().numpy() + operator.bias)
            expected += float(sites[layer].sae.b_enc[graph.feature[t]])
            if sites[layer].sae.apply_b_dec_to_input:
                expected -= e_t @ sites[layer].sae.b_dec.double().numpy()
        assert weight == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_nodes_are_the_active_features_with_their_activations(graph, sites):
    for layer, site in sites.items():
        at = (graph.kind == "feature") & (graph.layer == layer)
        dense = site.sae.encode(site.residual).numpy()
        found = np.zeros_like(dense)
        found[graph.position[at], graph.feature[at]] = graph.activation[at]
        np.testing.assert_allclose(found, dense, atol=1e-6)


def test_a_linear_toy_has_no_errors_and_its_edges_are_the_entries_of_the_operators():
    sites, operators = linear_toy()
    graph = transport_graph(sites, operators, (1, 2, 3, 4))
    errors = np.isin(graph.kind[graph.source], ("error", "transport_error"))
    assert errors.any()
    assert np.abs(graph.weight[errors]).max() <= 1e-9
    d = operators[0].d_in
    sign = np.where(graph.feature < d, 1.0, -1.0)
    linear = graph.kind[graph.source] == "feature"
    for j, t, weight in zip(graph.source[linear], graph.target[linear], graph.weight[linear], strict=True):
        matrix = operators[graph.layer[t] - 1].matrix
        entry = matrix[graph.feature[t] % d, graph.feature[j] % d]
        assert weight == pytest.approx(sign[t] * sign[j] * entry * graph.activation[j], abs=1e-12)


def test_two_steps_through_a_linear_toy_are_the_product_of_the_operators():
    sites, operators = linear_toy()
    graph = transport_graph(sites, operators, (1, 2, 3, 4))
    product = operators[1].matrix @ operators[0].matrix
    d = len(product)
    is_feature = graph.kind == "feature"
    for p in range(4):
        steps = [np.zeros((d, d)), np.zeros((d, d))]
        for j, t, weight in zip(graph.source, graph.target, graph.weight, strict=True):
            if is_feature[j] and graph.position[t] == p:
                signs = [1 if graph.feature[i] < d else -1 for i in (j, t)]
                entry = signs[0] * signs[1] * weight / graph.activation[j]
                steps[graph.layer[j]][graph.feature[t] % d, graph.feature[j] % d] = entry
        # A zero of the middle layer has no active feature, and so no path.
        middle = sites[1].residual[p].numpy() != 0
        first = sites[0].residual[p].numpy() != 0
        last = sites[2].residual[p].numpy() != 0
        expected = operators[1].matrix[:, middle] @ operators[0].matrix[middle]
        np.testing.assert_allclose((steps[1] @ steps[0])[np.ix_(last, first)], expected[np.ix_(last, first)], atol=1e-9)
        if middle.all():
            np.testing.assert_allclose(expected, product)


def test_a_choice_of_positions_gives_the_same_edges_there(graph, sites, operators):
    part = transport_graph(sites, operators, TOKENS, positions=(3, 1, 3))
    assert set(part.position) == {1, 3}
    there = np.isin(graph.position[graph.target], (1, 3))
    np.testing.assert_allclose(np.sort(part.weight), np.sort(graph.weight[there]))


def test_an_operator_without_a_layer_in_between_leaves_that_layer_out(sites, operators):
    part = transport_graph(sites, operators[:1], TOKENS)
    assert set(part.layer) == {-1, 0, 2}


def test_positions_without_active_features_still_balance():
    sites = sites_of((0, 1))
    silent = {
        layer: Site(sae_of(6, 24, 9, b_enc=torch.full((24,), -1e3)), site.residual) for layer, site in sites.items()
    }
    for given in ({0: silent[0], 1: sites[1]}, {0: sites[0], 1: silent[1]}, silent):
        graph = transport_graph(given, [operator_of(0, 1)], TOKENS)
        assert not (conservation_residual(graph) > 1e-9).any()
    assert not len(graph.weight)
    assert set(graph.kind) == {"constant", "error", "transport_error"}


@pytest.mark.parametrize(
    ("architecture", "values"), [("topk", {"k": 3}), ("jumprelu", {"threshold": torch.full((24,), 2.0)})]
)
def test_a_gate_decides_which_features_there_are_and_not_what_they_sum_to(architecture, values):
    sites = {
        layer: Site(replace(site.sae, architecture=architecture, **values), site.residual)
        for layer, site in sites_of((0, 1)).items()
    }
    graph = transport_graph(sites, [operator_of(0, 1)], TOKENS)
    targets = ~np.isnan(graph.total)
    assert conservation_residual(graph)[targets].max() <= 1e-9
    pre = sites[1].sae.pre_activations(sites[1].residual).numpy()
    np.testing.assert_allclose(graph.total[targets], pre[graph.position[targets], graph.feature[targets]], rtol=1e-4)
    assert (graph.kind == "feature").sum() == sum((site.sae.encode(site.residual) > 0).sum() for site in sites.values())


def test_no_positions_give_an_empty_graph(sites, operators):
    graph = transport_graph(sites, operators, TOKENS, positions=())
    assert len(graph.kind) == len(graph.weight) == 0


def test_what_cannot_be_added_up_is_refused_in_one_line(sites, operators):
    cases = [
        (InputError, sites, [*operators, operator_of(0, 3)], {}, "two operators lead into layer 3"),
        (InputError, sites, [operator_of(0, 1)], {}, "layer 1 has an operator and no SAE"),
        (InputError, sites, [], {}, "needs an operator"),
        (InputError, sites, [operator_of(3, 0)], {}, "from layer 3 to layer 0"),
        (InputError, sites, [operator_of(None, 2)], {}, "from layer None to layer 2"),
        (InputError, sites, operators, {"positions": [9]}, "beyond the prompt of 5 tokens"),
        (MismatchError, sites, [operator_of(0, 2, d_in=7)], {}, "width 7 at layer 0, the SAE there 6"),
        (InputError, sites | {0: Site(sites[0].sae, sites[0].residual[:2])}, operators, {}, "prompt of 5 tokens"),
    ]
    elsewhere = replace(sites[0].sae, metadata={"hook_name": "blocks.4.hook_resid_post"})
    cases.append((SAEError, sites | {0: Site(elsewhere, sites[0].residual)}, operators, {}, "."))
    for error, given, through, values, message in cases:
        with pytest.raises(error, match=message) as caught:
            transport_graph(given, through, TOKENS, **values)
        assert "\n" not in str(caught.value)
