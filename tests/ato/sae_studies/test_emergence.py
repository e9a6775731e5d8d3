"""Emergence finds planted births, deaths, splits and drifts, and its counts are those of dense activations."""

from dataclasses import astuple, is_dataclass

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import jaccard_score

from ato.errors import InputError, MismatchError, SettingsError
from ato.numerics.intervals import document_interval
from ato.numerics.scales import SHARE
from ato.sae_studies.densities import DENSITY_EDGES
from ato.sae_studies.emergence import Emergence
from ato.sae_studies.snapshots import Snapshot
from tests.ato.sae_studies.planted import LAYER, block_of, parts, random_topk, relu_sae

D = 16


def snapshots_of(*saes):
    return [Snapshot(sae, 100 * i, 1000 * i) for i, sae in enumerate(saes)]


def planted():
    """Four snapshots of six features: one that splits in two, one from the start, one that dies, never active, zero row."""
    u = np.eye(D)
    mixed = (u[0] + u[1]) / np.sqrt(2)
    early = 0.6 * u[1] + 0.8 * u[5]
    rows = [
        [mixed, u[9], u[2], u[3], u[4], 0 * u[0]],
        [mixed, early, u[2], u[3], u[4], 0 * u[0]],
        [u[0], u[1], u[2], u[3], u[4], 0 * u[0]],
        [u[0], u[1], u[2], u[3], u[4], 0 * u[0]],
    ]
    off = -10.0
    biases = [
        [-0.5, off, -0.5, -0.5, off, -0.5],
        [-0.5, -0.5, -0.5, -0.5, off, -0.5],
        [-0.5, -0.5, -0.5, off, off, -0.5],
        [-0.5, -0.5, -0.5, off, off, -0.5],
    ]
    return snapshots_of(*(relu_sae(np.array(r), np.array(b)) for r, b in zip(rows, biases)))


def planted_block(n: int = 600):
    kind = np.random.default_rng(0).integers(6, size=n)
    return block_of(np.eye(D)[kind], token_id=kind + 40, document=np.arange(n) // 30), kind


def test_planted_births_deaths_and_emergences_are_found():
    block, kind = planted_block()
    found = Emergence(planted(), LAYER).update(block).result()
    assert found.emerged.tolist() == [2, 2, 0, 0, 0, -1]
    assert found.born.tolist() == [0, 1, 0, 0, -1, -1]
    assert found.died.tolist() == [-1, -1, -1, 2, -1, -1]
    assert found.state.tolist() == ["alive", "alive", "alive", "dead", "never active", "never active"]
    assert found.steps.tolist() == [0, 100, 200, 300]
    assert found.reason[0] is None
    assert "any snapshot" in found.reason[4]
    assert "zero" in found.reason[5]
    n = np.bincount(kind)
    assert found.agreement[0, 0] == pytest.approx(n[0] / (n[0] + n[1]))  # the mixed feature fires on kinds 0 and 1
    assert found.agreement[1, 1] == pytest.approx(n[1] / (n[1] + n[5]))
    assert np.isnan(found.agreement[:, 4]).all()


def test_a_cosine_that_falls_again_has_not_emerged():
    u = np.eye(D)
    saes = [relu_sae(u[[i]]) for i in (0, 1, 0, 0)]
    found = Emergence(snapshots_of(*saes), LAYER).update(planted_block()[0]).result()
    assert found.emerged.tolist() == [2]


def test_a_feature_that_is_itself_only_in_the_end_emerges_in_the_final_snapshot_with_no_drift():
    u = np.eye(D)
    found = Emergence(snapshots_of(relu_sae(u[[1]]), relu_sae(u[[0]])), LAYER).update(planted_block()[0]).result()
    assert found.emerged.tolist() == [1]
    assert found.drift.value.tolist() == [0.0]
    assert np.isnan([found.drift.low, found.drift.high]).all()


def test_a_planted_split_is_traced_to_the_one_feature_that_held_both():
    found = Emergence(planted(), LAYER).update(planted_block()[0]).result().parents
    assert found.parent.tolist() == [0, 0, 2, -1, -1, -1]
    assert found.n_siblings.tolist() == [2, 2, 1, 0, 0, 0]
    assert found.split.tolist() == [True, True, False, False, False, False]
    np.testing.assert_allclose(found.cosine[:3], [np.sqrt(0.5), np.sqrt(0.5), 1.0], atol=1e-6)
    far = Emergence(planted(), LAYER, parent_cosine=0.8).update(planted_block()[0]).result().parents
    assert far.parent.tolist() == [-1, -1, 2, -1, -1, -1]


def test_the_cosine_that_chance_gives_a_parent_is_the_median_over_random_directions():
    from ato.sae_studies.splitting import median_largest_cosine

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 30, 12))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    assert median_largest_cosine(30, 12) == pytest.approx(np.median(rows[:, :, 0].max(1)), abs=0.01)


def test_specialisation_at_birth_and_in_the_end_is_the_entropy_of_what_a_feature_fires_on():
    block, kind = planted_block()
    strata = {document: "even" if document % 2 == 0 else "odd" for document in range(20) if document % 3}
    found = Emergence(planted(), LAYER, strata=strata).update(block).result()
    n = np.bincount(kind)
    assert found.first.n_active[:4].tolist() == [n[0] + n[1], n[1] + n[5], n[2], n[3]]
    assert found.first.token_entropy[0] == pytest.approx(scipy_entropy([n[0], n[1]]))
    assert found.final.token_entropy[:3].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(found.final.token_entropy[3:]).all()
    labelled = (kind == 0) & (block.document % 3 > 0)
    even = labelled & (block.document % 2 == 0)
    assert found.final.n_labelled[0] == labelled.sum()
    expected = scipy_entropy([even.sum(), labelled.sum() - even.sum()])
    assert found.final.stratum_entropy[0] == pytest.approx(expected)
    # One kind of six is far below chance; topics are drawn at random, so that strata are as mixed as chance has them.
    assert found.final.token_entropy_by_chance[0] == pytest.approx(np.log(6), abs=0.05)
    assert found.final.stratum_entropy_by_chance[0] == pytest.approx(found.final.stratum_entropy[0], abs=0.05)


def test_without_strata_their_entropies_are_missing():
    found = Emergence(planted(), LAYER).update(planted_block()[0]).result()
    assert found.first.n_labelled.sum() == 0
    assert np.isnan(found.first.stratum_entropy).all()
    assert np.isnan(found.first.stratum_entropy_by_chance).all()


def test_chance_gives_the_mean_entropy_of_draws_without_replacement():
    from ato.sae_studies.specialisation import chance_entropies

    totals = np.array([3, 1])
    # All 4: the entropy itself; one: 0; two of {a, a, a, b}: both ids in half of the draws.
    found = chance_entropies(totals, np.array([4, 1, 0]))
    np.testing.assert_allclose(found, [scipy_entropy([3, 1]), 0.0, np.nan], atol=1e-12)
    many = chance_entropies(np.full(50, 40), np.arange(1, 400))
    assert (np.diff(many[::20]) > 0).all()
    assert many[-1] == pytest.approx(np.log(50), abs=0.1)


def random_study():
    rng = np.random.default_rng(1)
    n = 500
    block = block_of(rng.normal(size=(n, 8)), rng.integers(30, size=n), np.sort(rng.integers(12, size=n)))
    return snapshots_of(*(random_topk(seed) for seed in range(4))), block


def test_counts_agreements_and_drift_are_those_of_dense_activations():
    snapshots, block = random_study()
    found = Emergence(snapshots, LAYER, cosine=0.5).update(block).result()
    dense = [snapshot.sae.encode(block.residuals[LAYER]).numpy() > 0 for snapshot in snapshots]
    assert len(set(found.emerged.tolist())) > 1
    for s, active in enumerate(dense):
        assert found.n_active[s].tolist() == active.sum(0).tolist()
        for feature in range(20):
            union = (dense[-1] | active)[:, feature].any()
            expected = jaccard_score(dense[-1][:, feature], active[:, feature]) if union else np.nan
            assert found.agreement[s, feature] == pytest.approx(expected, nan_ok=True)
    for feature in range(20):
        then, now = dense[found.emerged[feature]][:, feature], dense[-1][:, feature]
        if not (now | then).any():
            assert np.isnan(found.drift.value[feature])
            continue
        assert found.drift.value[feature] == pytest.approx(1 - jaccard_score(now, then), abs=1e-12)
        assert found.n_documents_active[feature] == len(set(block.document[then | now]))
        sums = np.array([[(m & now & then).sum(), (m & (now | then)).sum()] for m in by_document(block)], dtype=float)
        expected = document_interval(sums, lambda x: 1 - x[:, 0] / x[:, 1], sums[:, 1], SHARE).item()
        if expected.low is not None and expected.high - expected.low > 1e-6:
            assert found.drift.low[feature] == pytest.approx(expected.low)
            assert found.drift.high[feature] == pytest.approx(expected.high)


def by_document(block):
    return [block.document == document for document in np.unique(block.document)]


def test_agreement_by_chance_is_what_shuffled_tokens_have():
    snapshots, block = random_study()
    found = Emergence(snapshots, LAYER).update(block).result()
    rng = np.random.default_rng(5)
    dense = [snapshots[s].sae.encode(block.residuals[LAYER]).numpy() > 0 for s in (0, -1)]
    shuffled = [jaccard_score(dense[1][:, 0], rng.permutation(dense[0][:, 0])) for _ in range(300)]
    assert found.agreement_by_chance[0, 0] == pytest.approx(np.mean(shuffled), abs=0.01)


def test_summaries_are_those_of_the_dense_activations():
    snapshots, block = random_study()
    found = Emergence(snapshots, LAYER, cosine=0.5).update(block).result()
    x = block.residuals[LAYER].double().numpy()
    for s, (snapshot, summary) in enumerate(zip(snapshots, found.summaries)):
        active = snapshot.sae.encode(block.residuals[LAYER]).numpy() > 0
        error = x - snapshot.sae.reconstruct(block.residuals[LAYER]).double().numpy()
        rate = active.mean(0)
        assert (summary.step, summary.n_trained) == (100 * s, 1000 * s)
        assert summary.quality.fvu.value == pytest.approx((error**2).sum() / ((x - x.mean(0)) ** 2).sum(), rel=1e-5)
        assert summary.quality.l0 == pytest.approx(active.sum(1).mean())
        assert summary.high_frequency_share == (rate > 0.1).mean()
        assert summary.log10_rate_counts.sum() == summary.n_active == (rate > 0).sum()
        assert summary.log10_rate_counts.tolist() == np.histogram(np.log10(rate[rate > 0]), DENSITY_EDGES)[0].tolist()
        assert summary.log10_rate_quantiles[2] == pytest.approx(np.median(np.log10(rate[rate > 0])))
        lasting = found.n_active[-1] > 0
        assert summary.n_compared == lasting.sum()
        assert summary.mean_cosine == pytest.approx(found.cosine[s, lasting].mean())
        assert summary.share_emerged == (found.emerged[lasting] <= s).mean()
        u, v = (snap.sae.decoder_directions.double().numpy()[lasting] for snap in (snapshot, snapshots[-1]))
        others = (u @ v.T)[~np.eye(len(u), dtype=bool)]
        assert summary.mean_cosine_shuffled == pytest.approx(others.mean(), abs=1e-6)
    assert found.summaries[-1].mean_cosine == found.summaries[-1].share_emerged == 1.0


def same(a, b):
    if is_dataclass(a):
        a, b = astuple(a), astuple(b)
    if isinstance(a, dict):
        a, b = list(a.items()), list(b.items())
    if isinstance(a, tuple | list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    elif isinstance(a, float | np.ndarray) and np.asarray(a).dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-9)
    else:
        np.testing.assert_array_equal(a, b)


def test_blocks_their_order_and_merging_change_nothing():
    snapshots, block = random_study()
    strata = {document: "abc"[document % 3] for document in range(12)}
    options = {"cosine": 0.5, "strata": strata}
    whole = Emergence(snapshots, LAYER, **options).update(block).result()
    streamed, left, right = (Emergence(snapshots, LAYER, **options) for _ in range(3))
    first, *rest = parts(block)
    for part in (*reversed(rest), first):
        streamed.update(part)
    left.update(first)
    for part in rest:
        right.update(part)
    same(streamed.result(), whole)
    same((right + left).result(), whole)


def test_a_birth_that_comes_to_light_late_in_the_stream_still_has_all_its_tokens():
    """Kind 5, on which feature 1 fires at its birth only, comes last."""
    kind = np.repeat([1, 5], [40, 10])
    u = np.eye(D)
    saes = [relu_sae(u[[5]]), relu_sae(u[[1]])]
    accumulated = Emergence(snapshots_of(*saes), LAYER)
    for start in range(0, 50, 7):
        part = kind[start : start + 7]
        accumulated.update(block_of(u[part], part))
    found = accumulated.result()
    assert found.born.tolist() == [0]
    assert found.first.n_active.tolist() == [10]
    assert found.final.n_active.tolist() == [40]


def test_nothing_seen_is_missing_and_not_zero():
    found = Emergence(planted(), LAYER).result()
    assert found.n_tokens == 0
    assert np.isnan(found.drift.value).all()
    assert np.isnan(found.agreement).all()
    assert found.summaries[0].quality.fvu.value is None
    assert np.isnan(found.summaries[0].high_frequency_share)


def test_what_cannot_be_followed_is_refused():
    sae = random_topk(0)
    with pytest.raises(InputError, match="no snapshot"):
        Emergence([], LAYER)
    with pytest.raises(InputError, match="rise"):
        Emergence([Snapshot(sae, 5, 0), Snapshot(sae, 5, 0)], LAYER)
    with pytest.raises(MismatchError, match="shapes"):
        Emergence([Snapshot(sae, 1, 0), Snapshot(random_topk(0, d_sae=21), 2, 0)], LAYER)
    for settings in ({"cosine": 0.0}, {"cosine": 1.1}):
        with pytest.raises(SettingsError):
            Emergence(snapshots_of(sae), LAYER, **settings)
    with pytest.raises(MismatchError):
        Emergence(snapshots_of(sae), LAYER) + Emergence(snapshots_of(sae), LAYER, cosine=0.8)
