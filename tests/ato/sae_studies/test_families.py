"""Families across layers: planted pairs are found by each measure, and every number is that of dense arrays."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import jaccard_score

from ato.errors import MismatchError, SettingsError
from ato.numerics.intervals import document_interval
from ato.numerics.scales import SHARE
from ato.operators.operator import TransportOperator
from ato.sae_studies.families import Families, FamilySettings
from ato.sae_studies.matches import direction_matches
from tests.ato.sae_studies.planted import LAYER, block_of, parts, random_topk, relu_sae
from tests.ato.sae_studies.test_emergence import same

D, SOURCE = 8, 1


def operator(matrix):
    return TransportOperator(np.asarray(matrix, dtype=np.float64), np.zeros(len(matrix)), "ridge")


def random_pair():
    rng = np.random.default_rng(2)
    n = 700
    x = rng.normal(size=(n, D))
    matrix = np.eye(D) + 0.3 * rng.normal(size=(D, D))
    y = x @ matrix.T + 0.2 * rng.normal(size=(n, D))
    block = block_of(y, document=np.sort(rng.integers(15, size=n)), layer_1=x)
    return block, random_topk(1), random_topk(2, d_sae=17), operator(matrix)


def families(source, target, op, *blocks, **settings):
    accumulated = Families((SOURCE, source), (LAYER, target), op, FamilySettings(**settings))
    for block in blocks:
        accumulated.update(block)
    return accumulated


def test_matches_by_weights_are_the_largest_of_the_dense_products():
    _, source, target, op = random_pair()
    found = direction_matches(source, target, op)
    u, v = (sae.decoder_directions.double().numpy() for sae in (source, target))
    heads = u @ op.matrix.T
    heads /= np.linalg.norm(heads, axis=1, keepdims=True)
    for name, expected in (("cosine", v @ u.T), ("transport", v @ heads.T)):
        assert found[name].source_feature.tolist() == expected.argmax(1).tolist()
    own = found["random"].source_feature
    np.testing.assert_allclose(found["random"].cosine, (v @ u.T)[np.arange(17), own], atol=1e-9)
    np.testing.assert_allclose(found["random"].transport_cosine, (v @ heads.T)[np.arange(17), own], atol=1e-9)
    pulled = v @ op.matrix  # T' u_target
    share = np.square((pulled * u[own]).sum(1)) / np.square(pulled).sum(1)
    np.testing.assert_allclose(found["random"].transport_share, share, atol=1e-9)


def test_a_rotation_between_layers_is_seen_by_transport_and_activations_and_not_by_cosine():
    rng = np.random.default_rng(0)
    rotation = np.roll(np.eye(D), 3, axis=0)
    x = np.eye(D)[rng.integers(D, size=400)] * rng.uniform(0.8, 1.2, size=(400, 1))
    block = block_of(x @ rotation.T, layer_1=x)
    source, target = relu_sae(np.eye(D)), relu_sae(np.eye(D))
    found = families(source, target, operator(rotation), block).result()
    expected = np.roll(np.arange(D), 3)
    by_cosine, by_transport = found.matches["cosine"], found.matches["transport"]
    assert by_cosine.direction.source_feature.tolist() == list(range(D))
    assert by_transport.direction.source_feature.tolist() == expected.tolist() == found.best_feature.tolist()
    np.testing.assert_allclose(by_transport.direction.transport_cosine, 1)
    np.testing.assert_allclose(by_transport.direction.transport_share, 1)
    np.testing.assert_allclose(by_transport.agreement.value, 1)
    np.testing.assert_allclose(by_transport.r2.value, 1, atol=0.02)
    # Cosine alone misleads: it is 1, and these pairs are never active together.
    assert found.disagrees.all()
    assert found.summary.median_cosine == 1.0
    assert found.summary.median_agreement.value == 0.0
    assert found.summary.share_disagreeing.value == 1.0
    assert found.summary.n_high_cosine == D


def test_every_score_is_that_of_dense_arrays():
    block, source, target, op = random_pair()
    found = families(source, target, op, block).result()
    a = target.encode(block.residuals[LAYER]).double().numpy()
    s = source.encode(block.residuals[SOURCE]).double().numpy()
    p = (block.residuals[LAYER].double() @ target.decoder_directions.double().T).numpy()
    jaccard = np.array([[jaccard_score(a[:, t] > 0, s[:, j] > 0) for j in range(20)] for t in range(17)])
    assert found.best_feature.tolist() == jaccard.argmax(1).tolist()
    np.testing.assert_allclose(found.best_agreement, jaccard.max(1))
    assert found.n_active.tolist() == (a > 0).sum(0).tolist()
    for match in found.matches.values():
        for t, j in enumerate(match.direction.source_feature):
            assert match.n_both[t] == ((a[:, t] > 0) & (s[:, j] > 0)).sum()
            assert match.agreement.value[t] == pytest.approx(jaccard[t, j])
            assert match.correlation.value[t] == pytest.approx(pearsonr(a[:, t], s[:, j])[0], abs=1e-9)
            line = LinearRegression().fit(s[:, [j]], p[:, t])
            assert match.r2.value[t] == pytest.approx(line.score(s[:, [j]], p[:, t]), abs=1e-5)
    direction = found.matches["cosine"].direction
    own = jaccard[np.arange(17), direction.source_feature]
    assert found.summary.rank_correlation.value == pytest.approx(spearmanr(direction.cosine, own)[0])
    assert found.summary.median_agreement.value == pytest.approx(np.median(own))
    assert found.summary.n_features == 17


def test_intervals_are_by_document():
    block, source, target, op = random_pair()
    match = families(source, target, op, block).result().matches["cosine"]
    a = target.encode(block.residuals[LAYER]).numpy()[:, 4] > 0
    s = source.encode(block.residuals[SOURCE]).numpy()[:, match.direction.source_feature[4]] > 0
    documents = [block.document == d for d in np.unique(block.document)]
    sums = np.array([[(m & a & s).sum(), (m & (a | s)).sum(), m.sum()] for m in documents], dtype=float)
    expected = document_interval(sums, lambda x: x[:, 0] / x[:, 1], sums[:, 2], SHARE).item()
    assert match.agreement.low[4] == pytest.approx(expected.low)
    assert match.agreement.high[4] == pytest.approx(expected.high)


def test_blocks_their_order_and_merging_change_nothing():
    block, source, target, op = random_pair()
    whole = families(source, target, op, block).result()
    first, *rest = parts(block)
    same(families(source, target, op, *reversed(rest), first).result(), whole)
    same((families(source, target, op, *rest) + families(source, target, op, first)).result(), whole)


def test_what_is_never_active_has_no_agreement_and_a_reason():
    rows = np.eye(D)
    rows[2] = 0
    source, target = relu_sae(np.eye(D), np.where(np.arange(D) == 1, -9.0, -0.5)), relu_sae(rows)
    x = np.eye(D)[np.arange(200) % 4]
    found = families(source, target, operator(np.eye(D)), block_of(x, layer_1=x)).result()
    assert found.reason[0] is None
    assert "source feature" in found.reason[1]
    assert "zero" in found.reason[2]
    assert "no token" in found.reason[5]
    match = found.matches["cosine"]
    assert match.direction.source_feature[2] == -1
    assert np.isnan(match.direction.cosine[2])
    assert match.agreement.value[1] == 0.0
    assert np.isnan(match.agreement.value[[2, 5]]).all()
    assert np.isnan(match.correlation.value[[1, 2, 5]]).all()
    assert found.best_feature[[1, 2, 5]].tolist() == [-1, -1, -1]
    empty = families(source, target, operator(np.eye(D))).result()
    assert empty.summary.n_features == 0
    assert empty.summary.median_agreement.value is None


def test_other_layers_widths_and_settings_are_refused():
    _, source, target, op = random_pair()
    with pytest.raises(MismatchError, match="width"):
        families(source, random_topk(0, d=9), op)
    with pytest.raises(MismatchError, match="operator of 1 -> 2"):
        families(source, target, replace(op, source_layer=1, target_layer=2))
    with pytest.raises(MismatchError):
        families(source, target, op) + families(source, target, operator(2 * op.matrix))
    with pytest.raises(SettingsError, match="high_cosine"):
        FamilySettings(high_cosine=1.2)
