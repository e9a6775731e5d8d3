"""k-sparse probing: a planted concept is found by one feature, chance is a half, memory does not grow with tokens."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from ato.errors import InputError, MismatchError
from ato.residuals import MemorySource, run_pass
from ato.sae_studies.document_means import (
    MAX_DOCUMENTS,
    DocumentActivations,
    DocumentResiduals,
    balanced_documents,
    labels_of_seen,
)
from ato.sae_studies.metrics import METRICS
from ato.sae_studies.probe_scores import auroc_left_out, share_interval
from ato.sae_studies.probing import ProbeSettings, probe_features, probe_residuals
from ato.saes import SharedEncoding, SparseAutoencoder

LAYER, D, N = 2, 16, 120
TOPICS = ("art", "sport", "war")
QUICK = ProbeSettings(ks=(1, 4), n_random=3)


def identity_sae(bias: float = 0.0) -> SparseAutoencoder:
    eye = torch.eye(D)
    return SparseAutoencoder("standard", eye, torch.full((D,), bias), eye, torch.zeros(D))


def planted(n: int = N, tokens: int = 20, seed: int = 0, strength: float = 1.5):
    """Documents of three topics, each of which has a direction of its own (3, 7 and 11) that its tokens are long along."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(3, size=n)
    x = rng.normal(size=(n, tokens, D)).astype(np.float32)
    x[np.arange(n), :, np.array([3, 7, 11])[topic]] += strength
    document = np.repeat(np.arange(n) * 10, tokens)  # numbers with gaps
    labels: list[str | None] = [TOPICS[i] for i in topic]
    return x.reshape(-1, D), document, labels


def means_of(x: np.ndarray, document: np.ndarray, chosen: np.ndarray, **options) -> DocumentActivations:
    sae = identity_sae()
    found = DocumentActivations(sae, LAYER, chosen)
    data = MemorySource({LAYER: torch.from_numpy(x)}, document=document, **options)
    run_pass(data, [SharedEncoding(sae, LAYER, [found])])
    return found


def train_of(n: int = N) -> np.ndarray:
    return np.arange(n) % 3 != 0


def test_means_are_those_of_numpy_for_the_chosen_documents_whatever_the_blocks_and_merging():
    x, document, _ = planted(30)
    chosen = np.array([70, 0, 290, 110])
    expected = np.stack([np.maximum(x[document == number], 0).mean(0) for number in chosen])
    whole = means_of(x, document, chosen)
    np.testing.assert_allclose(whole.means().toarray(), expected, rtol=1e-6)
    assert whole.n_tokens().tolist() == [20] * 4
    np.testing.assert_allclose(means_of(x, document, chosen, block_rows=7).means().toarray(), expected, rtol=1e-6)
    half = len(x) // 2 + 3
    merged = means_of(x[half:], document[half:], chosen) + means_of(x[:half], document[:half], chosen)
    np.testing.assert_allclose(merged.means().toarray(), expected, rtol=1e-6)
    dense = DocumentResiduals(LAYER, chosen)
    run_pass(MemorySource({LAYER: torch.from_numpy(x)}, document=document, block_rows=7), [dense])
    np.testing.assert_allclose(dense.means(), [x[document == number].mean(0) for number in chosen], rtol=1e-5)
    with pytest.raises(MismatchError):
        whole + means_of(x, document, chosen[:2])


def test_what_is_held_does_not_grow_with_the_tokens_and_other_documents_are_passed_over():
    chosen = np.arange(0, 100, 10)
    held = []
    for tokens in (50, 400):
        x, document, _ = planted(30, tokens=tokens)
        found, peak = means_of(x[:0], document[:0], chosen), 0
        data = MemorySource({LAYER: torch.from_numpy(x)}, document=document, block_rows=64)
        for block in data.blocks():
            found.update(block)
            peak = max(peak, found.n_held)
        held.append(peak)
    assert held[0] <= held[1] <= 2 * len(chosen) * D  # documents x features, where tokens x features are 64,000
    assert found.means().nnz <= len(chosen) * D


def test_too_many_documents_are_refused_and_a_balanced_choice_has_equally_many_of_each_label():
    with pytest.raises(InputError, match=f"more than {MAX_DOCUMENTS:,}"):
        DocumentActivations(identity_sae(), LAYER, np.arange(MAX_DOCUMENTS + 1))
    with pytest.raises(InputError, match="distinct"):
        DocumentResiduals(LAYER, np.array([1, 1]))
    labels = ["a"] * 50 + [None] * 20 + ["b"] * 6 + ["c"] * 40
    chosen = balanced_documents(labels, 26, seed=1)
    assert sorted(np.unique([labels[i] for i in chosen], return_counts=True)[1].tolist()) == [6, 10, 10]
    np.testing.assert_array_equal(chosen, balanced_documents(labels, 26, seed=1))
    assert len(balanced_documents(labels, 1000)) == 96
    assert len(balanced_documents([None], 5)) == 0


def test_a_planted_concept_is_found_by_one_feature_and_random_features_do_worse():
    x, document, labels = planted()
    chosen = np.arange(N) * 10
    means = means_of(x, document, chosen).means()
    found = probe_features(means, labels, train_of(), QUICK, name="topic")
    best = {probe.stratum: probe.features for probe in found.probes if (probe.method, probe.k) == ("sae", 1)}
    assert best == {"art": (3,), "sport": (7,), "war": (11,)}
    sae, random, majority = (found.means[key][0] for key in (("sae", 1), ("random", 1), ("majority", None)))
    assert sae.value > 0.99
    assert majority.value == 0.5
    assert 0.45 < random.value < 0.85
    assert found.means["sae", 1][1].value > 0.95 > 0.7 > found.means["majority", None][1].value
    for auroc, accuracy in found.means.values():
        assert auroc.low <= auroc.value <= auroc.high
        assert accuracy.low <= accuracy.value <= accuracy.high
    dense = DocumentResiduals(LAYER, chosen)
    run_pass(MemorySource({LAYER: torch.from_numpy(x)}, document=document), [dense])
    whole = probe_residuals(dense.means(), labels, train_of(), QUICK, name="topic")
    assert whole.means["dense", None][0].value > 0.99
    names = {(metric.name, metric.detail) for metric in (*found.metrics(), *whole.metrics())}
    assert ("probe_auroc", "topic, sae, k = 1") in names
    assert ("probe_accuracy", "topic, dense") in names
    assert {metric.n_documents for metric in found.metrics()} == {N - train_of().sum()}


def test_scores_are_those_of_scikit_learn_on_the_same_features():
    x, document, labels = planted(strength=0.15)
    means = means_of(x, document, np.arange(N) * 10).means()
    found = probe_features(means, labels, train_of(), QUICK, name="topic")
    train, dense = train_of(), means.toarray()
    for probe in found.probes:
        if (probe.method, probe.k) != ("sae", 4):
            continue
        y = np.array(labels) == probe.stratum
        difference = np.abs(dense[train & y].mean(0) - dense[train & ~y].mean(0))
        assert set(probe.features) == set(np.argsort(-difference)[:4])
        scaler = StandardScaler().fit(dense[train][:, probe.features])
        columns = scaler.transform(dense[:, probe.features])
        regression = LogisticRegression(C=1.0).fit(columns[train], y[train])
        logits = regression.decision_function(columns[~train])
        assert probe.auroc.value == pytest.approx(roc_auc_score(y[~train], logits), abs=1e-3)
        assert probe.accuracy.value == pytest.approx(regression.score(columns[~train], y[~train]), abs=0.03)


def test_auroc_and_auroc_without_each_document_are_those_of_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    scores, y = rng.integers(6, size=25).astype(float), rng.random(25) < 0.4
    value, without = auroc_left_out(scores, y)
    assert value == pytest.approx(roc_auc_score(y, scores))
    for i in range(25):
        rest = np.arange(25) != i
        assert without[i] == pytest.approx(roc_auc_score(y[rest], scores[rest]))
    assert np.isnan(auroc_left_out(scores, np.zeros(25, dtype=bool))[0])


def test_labels_without_meaning_give_chance_on_test_documents():
    x, document, labels = planted()
    means = means_of(x, document, np.arange(N) * 10).means()
    values = []
    for seed in range(8):
        shuffled = [labels[i] for i in np.random.default_rng(seed).permutation(N)]
        values.append(probe_features(means, shuffled, train_of(), QUICK, name="topic").means["sae", 4][0].value)
    assert np.mean(values) == pytest.approx(METRICS["probe_auroc"].null, abs=0.06)


def test_strata_with_too_few_documents_or_none_have_no_score_and_say_why():
    x, document, labels = planted()
    means = means_of(x, document, np.arange(N) * 10).means()
    rare = ["rare" if i in (1, 2, 4) else label for i, label in enumerate(labels)]
    found = probe_features(means, rare, train_of(), QUICK, name="topic")
    of_rare = [probe for probe in found.probes if probe.stratum == "rare"]
    assert {probe.auroc.value for probe in of_rare} == {None}
    assert {probe.reason for probe in of_rare} == {"3 documents of rare in train, fewer than 5"}
    assert found.means["sae", 1][0].value is not None  # of the others
    nothing = probe_features(means, [None] * N, train_of(), QUICK, name="topic")
    assert {metric.reason for metric in nothing.metrics()} == {"no document has a topic"}
    one = probe_features(means, ["art"] * N, train_of(), QUICK, name="topic")
    assert one.metrics()[0].reason.startswith("no topic has enough documents: 0 documents of the rest in train")
    assert labels_of_seen(["a", "b"], np.array([3, 0])) == ["a", None]
    with pytest.raises(InputError, match="labels"):
        probe_features(means, labels[1:], train_of(), QUICK, name="topic")
    with pytest.raises(InputError, match="at least one k"):
        ProbeSettings(ks=())


def test_silent_features_and_a_k_beyond_the_width_are_no_trouble():
    _, _, labels = planted()
    silent = probe_features(csr_array((N, D)), labels, train_of(), ProbeSettings(ks=(1, 99)), name="topic")
    assert silent.means["sae", 99][0].value == 0.5
    assert len(silent.probes[0].features) == 1


def test_an_auroc_that_one_document_keeps_from_1_has_the_limits_of_a_binomial_share():
    y = np.arange(40) < 11
    scores = np.where(y, 2.0, 0.0) + np.linspace(0, 0.1, 40)
    assert share_interval(*auroc_left_out(scores, y), 11).low == pytest.approx(0.025 ** (1 / 11))  # 11 of 11
    scores[0] = -1.0  # the one document: without it the AUROC is 1
    value, without = auroc_left_out(scores, y)
    assert 1.0 in without
    found, exact = share_interval(value, without, 11), binomtest(10, 11).proportion_ci(method="exact")
    assert (found.value, found.low, found.high) == pytest.approx((10 / 11, exact.low, exact.high))
    scores[1] = -1.0  # two of them: now leaving out tells of the spread
    value, without = auroc_left_out(scores, y)
    assert 0 < share_interval(value, without, 11).low < value < share_interval(value, without, 11).high < 1
