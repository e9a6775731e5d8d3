"""Shares of pathways: those of the transport graph summed over tokens, and planted ones."""

import numpy as np
import pytest
import torch

from ato.graphs.transport import Site, transport_graph
from ato.operators.operator import TransportOperator
from ato.sae_studies.pathways import Pathways
from ato.saes import SparseAutoencoder
from tests.ato.sae_studies.planted import LAYER, block_of, parts, relu_sae

D, SOURCE = 8, 1


def topk(seed: int, subtract: bool = True) -> SparseAutoencoder:
    rng = np.random.default_rng(seed)
    tensors = (torch.tensor(rng.standard_normal(shape), dtype=torch.float32) for shape in ((D, 12), 12, (12, D), D))
    return SparseAutoencoder("topk", *tensors, k=4, apply_b_dec_to_input=subtract)


def measured(source, target, op, matched, *blocks, min_active=2):
    found = Pathways((SOURCE, source), (LAYER, target), op, matched)
    for block in blocks:
        found.update(block)
    return found.result(min_active)


@pytest.mark.parametrize("subtract", [True, False])
def test_shares_are_those_of_the_edges_of_the_transport_graph(subtract):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 90, D))
    source, target = topk(1), topk(2, subtract)
    op = TransportOperator(rng.standard_normal((D, D)), rng.standard_normal(D), "ridge", SOURCE, LAYER)
    matched = np.stack([rng.integers(12, size=12), np.full(12, -1)])
    block = block_of(y, layer_1=x)
    found = measured(source, target, op, matched, block, min_active=1)
    sites = {layer: Site(sae, block.residuals[layer]) for layer, sae in ((SOURCE, source), (LAYER, target))}
    graph = transport_graph(sites, [op], [3] * 90)
    whole, through, missed = np.zeros((3, 12))
    for t in np.flatnonzero((graph.kind == "feature") & (graph.layer == LAYER)):
        f, into = graph.feature[t], graph.target == t
        kind, weight = graph.kind[graph.source[into]], graph.weight[into]
        whole[f] += weight[kind != "constant"].sum()
        missed[f] += weight[kind == "transport_error"].sum()
        through[f] += weight[(kind == "feature") & (graph.feature[graph.source[into]] == matched[0, f])].sum()
    known = whole > 0
    assert known.sum() > 3
    np.testing.assert_allclose(found.through.value[0, known], (through / whole)[known], rtol=1e-4)
    np.testing.assert_allclose(found.not_transported.value[known], (missed / whole)[known], rtol=1e-4)
    assert (found.through.value[1, known] == 0).all(), "nothing comes through no feature"
    assert np.isnan(found.through.value[:, ~known]).all()
    told = known & np.isfinite(found.through.low[0])  # the others are active in too few documents
    assert told.sum() > 3
    assert (found.through.low[0, told] <= found.through.value[0, told]).all()


def test_blocks_in_any_order_and_size_add_up():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, D))
    block = block_of(x + 0.1, layer_1=x)
    op = TransportOperator(np.eye(D), np.zeros(D), "ridge")
    one, other = (measured(topk(1), topk(2), op, np.arange(12), *blocks) for blocks in ([block], parts(block)[::-1]))
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(getattr(one.through, name), getattr(other.through, name), rtol=1e-5)
    assert one.n_documents.tolist() == other.n_documents.tolist()


def test_a_carried_feature_comes_through_its_match_and_a_computed_one_is_not_transported():
    rng = np.random.default_rng(2)
    x = np.abs(rng.standard_normal((400, D)))
    y = x.copy()
    y[:, 1] = np.abs(rng.standard_normal(400))  # made in between
    op = TransportOperator(np.diag([1.0, 0, *[1.0] * (D - 2)]), np.zeros(D), "ridge")
    sae = relu_sae(np.eye(D), b_enc=0.0)
    found = measured(sae, sae, op, np.arange(D), block_of(y, layer_1=x))
    np.testing.assert_allclose(np.delete(found.through.value[0], 1), 1, atol=1e-5)
    np.testing.assert_allclose(np.delete(found.not_transported.value, 1), 0, atol=1e-5)
    assert found.through.value[0, 1] == 0
    assert found.not_transported.value[1] == pytest.approx(1)


def test_features_that_are_hardly_active_have_no_share():
    x = np.zeros((50, D))
    sae = relu_sae(np.eye(D))
    found = measured(sae, sae, TransportOperator(np.eye(D), np.zeros(D), "ridge"), np.arange(D), block_of(x, layer_1=x))
    assert found.n_active.tolist() == [0] * D
    assert np.isnan(found.through.value).all()
    nothing = Pathways((SOURCE, sae), (LAYER, sae), TransportOperator(np.eye(D), np.zeros(D), "ridge"), np.arange(D))
    assert np.isnan(nothing.result().not_transported.value).all()
