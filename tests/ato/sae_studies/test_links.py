"""Links of features across layers: the largest of dense products, planted ones found, chance below them."""

import numpy as np
import pytest

from ato.errors import MismatchError
from ato.operators.operator import TransportOperator
from ato.sae_studies.links import feature_links
from tests.ato.sae_studies.planted import random_topk, relu_sae

D = 32


def operator(matrix: np.ndarray) -> TransportOperator:
    return TransportOperator(matrix, np.zeros(len(matrix)), "ridge", 1, 3)


def test_links_are_the_largest_of_the_dense_products_in_both_senses():
    rng = np.random.default_rng(0)
    source, target = random_topk(1), random_topk(2, d_sae=17)
    op = operator(np.eye(8) + 0.3 * rng.standard_normal((8, 8)))
    back, ahead = feature_links(source, target, op)
    u, v = (sae.decoder_directions.double().numpy() for sae in (source, target))
    heads = u @ op.matrix.T
    heads /= np.linalg.norm(heads, axis=1, keepdims=True)
    for found, plain, transported in ((back, v @ u.T, v @ heads.T), (ahead, u @ v.T, heads @ v.T)):
        assert found.feature.tolist() == plain.argmax(1).tolist()
        assert found.transport_feature.tolist() == transported.argmax(1).tolist()
        np.testing.assert_allclose(found.cosine, plain.max(1), atol=1e-12)
        np.testing.assert_allclose(found.transport_cosine, transported.max(1), atol=1e-12)


def test_a_feature_that_the_blocks_rotate_is_linked_by_transport_alone_and_above_chance():
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.standard_normal((D, D)))[0]
    rows = np.linalg.qr(rng.standard_normal((D, D)))[0][:12]
    order = rng.permutation(12)
    back, ahead = feature_links(relu_sae(rows), relu_sae((rows @ rotation.T)[order]), operator(rotation))
    assert back.transport_feature.tolist() == order.tolist()
    assert ahead.transport_feature[order].tolist() == list(range(12))
    np.testing.assert_allclose(back.transport_cosine, 1, atol=1e-6)
    assert back.transport_chance < 0.7
    assert (back.cosine < 0.8).all()


def test_a_feature_without_a_direction_has_no_link_and_is_nobodys():
    rows = np.random.default_rng(2).standard_normal((5, D))
    rows[2] = 0
    back, ahead = feature_links(relu_sae(rows), relu_sae(rows), operator(np.eye(D)))
    for found in (back, ahead):
        assert found.feature.tolist() == found.transport_feature.tolist() == [0, 1, -1, 3, 4]
        assert np.isnan(found.cosine[2])
    none, _ = feature_links(relu_sae(np.zeros((2, D))), relu_sae(rows), operator(np.eye(D)))
    assert (none.feature == -1).all()
    assert np.isnan(none.cosine_chance)
    nowhere, _ = feature_links(relu_sae(rows), relu_sae(rows), operator(np.zeros((D, D))))
    assert nowhere.feature[0] == 0
    assert (nowhere.transport_feature == -1).all()


def test_equal_features_go_to_the_first():
    rows = np.random.default_rng(3).standard_normal((3, D))
    back, _ = feature_links(relu_sae(np.vstack([rows, rows])), relu_sae(rows), operator(np.eye(D)))
    assert back.feature.tolist() == [0, 1, 2]


def test_saes_of_other_widths_are_refused():
    with pytest.raises(MismatchError, match="of width"):
        feature_links(random_topk(1), relu_sae(np.eye(D)), operator(np.eye(D)))
