"""Windows of chosen features hold what the dense activations hold; silent ones are silent at every token."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from ato.errors import InputError, MismatchError
from ato.features.evidence_windows import EvidencePlan, EvidenceWindows, LabelEvidence
from ato.features.excerpts import TIERS
from ato.features.label_evidence import EvidenceTokens, collect_evidence
from ato.features.neurons import MLPNeurons, mlp_neurons
from ato.features.strata import document_stratum, position_tenths
from ato.models import load_model
from ato.residuals.live import LiveSource
from ato.text.documents import Document
from ato.text.sequences import make_sequences
from ato.text.token_texts import TokenTexts, whole_tokens
from tests.ato.features.planted_text import D_SAE, LAYER, N_FOLDS, SILENT, D, PlantedText, planted_text
from tests.tiny_models import save_tiny_model

FEATURES = np.array([9, 3, SILENT, 16])
PLAN = EvidencePlan(5, 4, 3, 3, 4, n_silent=6, n_neighbours=4, pool=64, before=6, after=3)


@pytest.fixture(scope="module")
def text() -> PlantedText:
    return planted_text()


def tokens(text: PlantedText, plan: EvidencePlan = PLAN, features: np.ndarray = FEATURES) -> EvidenceTokens:
    strata = [document_stratum("topic", text.topics), position_tenths(text.lengths)]
    return EvidenceTokens(text.sae, LAYER, features, n_folds=N_FOLDS, strata=strata, plan=plan)


@pytest.fixture(scope="module")
def evidence(text) -> LabelEvidence:
    return collect_evidence([tokens(text)], text.source(), text.lengths)[0]


def rows(windows: EvidenceWindows, **wanted) -> np.ndarray:
    return np.flatnonzero(np.all([getattr(windows, name) == value for name, value in wanted.items()], axis=0))


def test_no_silent_window_contains_an_active_or_an_unknown_token(text, evidence):
    w = evidence.windows
    silent = rows(w, kind="silent")
    assert len(silent) > 60
    for i in silent:
        own = text.dense[w.sequence_id[i], w.start[i] : w.end[i], w.feature_id[i]]
        assert (own == 0).all()  # NaN, which stands for a token that was left out, is not 0
        assert w.start[i] <= w.position[i] < w.end[i]
        assert not w.activations[i].any()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_windows_are_silent_and_active_as_planted_whatever_the_text_and_the_seed(seed):
    text = planted_text(seed)
    found = collect_evidence(
        [tokens(text, replace(PLAN, seed=seed), np.arange(D_SAE))], text.source(500), text.lengths
    )[0].windows
    for i in range(len(found)):
        own = text.dense[found.sequence_id[i], found.start[i] : found.end[i], found.feature_id[i]]
        np.testing.assert_allclose(own, found.activations[i], rtol=1e-5)
        assert (own > 0).any() == (found.kind[i] != "silent")


def test_every_tier_has_its_windows_of_other_documents_and_one_a_sequence(text, evidence):
    w = evidence.windows
    for f in (3, 9, 16):
        for split in ("val", "test"):
            own = rows(w, feature_id=f, split=split)
            active, silent = own[w.kind[own] != "silent"], own[w.kind[own] == "silent"]
            assert not set(w.document[active]) & set(w.document[silent])
            assert len(set(w.sequence_id[silent])) == len(silent)
            assert {text.split_of(d) for d in w.document[own]} == {split}
            for tier in TIERS:
                assert w.rank[rows(w, feature_id=f, split=split, tier=tier)].tolist() == [1, 2, 3, 4, 5, 6]
    assert not len(rows(w, kind="silent", split="train"))
    # It fires in no stratum and with no other feature; its decoder row has neighbours.
    assert set(w.tier[rows(w, feature_id=SILENT)]) == {"random", "near_miss"}


def test_near_misses_are_where_a_neighbour_fires(text, evidence):
    w = evidence.windows
    near = rows(w, tier="near_miss")
    assert len(near)
    assert (w.neighbour[np.setdiff1d(np.arange(len(w)), near)] == -1).all()
    for i in near:
        assert text.dense[w.sequence_id[i], w.position[i], w.neighbour[i]] > 0
        both = [n.neighbour[n.feature_id == w.feature_id[i]] for n in (evidence.coactivation, evidence.cosine)]
        assert w.neighbour[i] in np.concatenate(both)


def test_windows_of_the_same_stratum_are_of_text_in_which_the_feature_fires(text):
    # A feature that is made to fire in one topic only.
    mask = np.array([text.topics.get(int(d)) == "law" for d in text.block.document])
    block = text.block
    x = block.residuals[LAYER].clone()
    weights = text.sae.W_enc[:, 9]
    x[~mask] -= (10 / weights.square().sum()) * weights  # far below its threshold
    planted = replace(text, block=replace(block, residuals={LAYER: x}))
    found = collect_evidence([tokens(planted)], planted.source(), text.lengths)[0]
    share = dict(zip(found.strata["topic"].values, found.strata["topic"].share[9]))
    assert share == {"law": 1, "music": 0, "physics": 0}
    same = rows(found.windows, feature_id=9, tier="same_stratum")
    assert len(same) >= 6
    assert {text.topics[int(d)] for d in found.windows.document[same]} == {"law"}


def test_examples_of_a_feature_are_of_different_documents_and_the_strongest_of_theirs(text, evidence):
    w = evidence.windows
    for f in (3, 9, 16):
        for split, n in (("train", (5, 4, 3)), ("val", (3, 4, 0)), ("test", (3, 4, 0))):
            own = rows(w, feature_id=f, split=split)
            own = own[w.kind[own] != "silent"]
            assert len(set(w.document[own])) == len(own) == sum(n)
            top = own[w.kind[own] == "top"]
            mine = [s for s in range(len(text.dense)) if text.split_of(s // 2) == split]
            best: dict[int, float] = {}
            for s in mine:
                best[s // 2] = max(best.get(s // 2, 0.0), float(np.nanmax(text.dense[s, :, f])))
            np.testing.assert_allclose(w.activation[top], sorted(best.values(), reverse=True)[: n[0]], rtol=1e-5)


def test_windows_are_the_longest_known_run_around_their_token(text, evidence):
    w = evidence.windows
    cut = 0
    for i in range(len(w)):
        known = ~np.isnan(text.dense[w.sequence_id[i], :, 0])
        start = end = w.position[i]
        while start > max(w.position[i] - 6, 0) and known[start - 1]:
            start -= 1
        while end < min(w.position[i] + 3, len(known) - 1) and known[end + 1]:
            end += 1
        assert (w.start[i], w.end[i]) == (start, end + 1)
        cut += end + 1 - start < 10
    assert cut


def test_order_and_size_of_blocks_and_shards_change_nothing(text, evidence):
    parts = text.parts(7)
    whole = tokens(text)
    first, second = tokens(text), tokens(text)
    for part in parts:
        whole.update(part)
    for part in parts[:3]:
        first.update(part)
    for part in parts[3:]:
        second.update(part)
    for one in (whole, second + first):
        halves = one.windows(text.lengths), one.windows(text.lengths)
        for i, part in enumerate(parts):
            halves[i % 2].update(part)
        same_evidence((halves[1] + halves[0]).result(), evidence)


def same_evidence(found: LabelEvidence, expected: LabelEvidence) -> None:
    for name, column in vars(expected.windows).items():
        own = getattr(found.windows, name)
        if name == "activations":
            for a, b in zip(own, column, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5)
        elif name == "activation":
            np.testing.assert_allclose(own, column, rtol=1e-5)
        else:
            np.testing.assert_array_equal(own, column, err_msg=name)
    np.testing.assert_array_equal(found.histograms.counts, expected.histograms.counts)
    np.testing.assert_array_equal(found.coactivation.neighbour, expected.coactivation.neighbour)
    for name, rates in expected.strata.items():
        np.testing.assert_array_equal(found.strata[name].n_active, rates.n_active)


def test_another_seed_draws_other_windows_and_the_same_top(text, evidence):
    other = collect_evidence([tokens(text, replace(PLAN, seed=1))], text.source(), text.lengths)[0].windows
    w = evidence.windows
    for kind, equal in (("top", True), ("random", False), ("silent", False)):
        pairs = (list(zip(x.sequence_id[own], x.position[own])) for x in (w, other) for own in [rows(x, kind=kind)])
        assert (next(pairs) == next(pairs)) is equal


def test_the_second_pass_needs_only_the_sequences_that_have_windows(text, evidence):
    first = tokens(text, replace(PLAN, pool=8)).update(text.block)
    second = first.windows(text.lengths)
    some = text.block.select(np.isin(text.block.sequence_id, second.sequences))
    assert some.n < text.block.n
    whole = first.windows(text.lengths).update(text.block).result()
    same_evidence(second.update(some).result(), whole)
    with pytest.raises(InputError, match="not seen in the second pass"):
        first.windows(text.lengths).result()


def test_nothing_chosen_nothing_seen_and_features_that_do_not_exist(text):
    nothing = tokens(text, features=np.zeros(0, dtype=int))
    assert len(collect_evidence([nothing], text.source(), text.lengths)[0].windows) == 0
    assert len(tokens(text).windows(text.lengths).result().windows) == 0
    for wrong in ([D_SAE], [-1], [3, 3]):
        with pytest.raises(InputError, match=r"no feature|named twice"):
            tokens(text, features=np.array(wrong))
    with pytest.raises(InputError, match="no stratum decade"):
        EvidenceTokens(text.sae, LAYER, FEATURES, n_folds=N_FOLDS, match="decade")
    with pytest.raises(MismatchError):
        tokens(text) + tokens(text, replace(PLAN, seed=3))
    with pytest.raises(MismatchError):
        tokens(text) + tokens(text, features=FEATURES[:2])


def test_several_saes_share_a_pass_and_neurons_stand_beside_them(text, evidence):
    neurons = MLPNeurons(torch.eye(D), torch.full((D,), 1.0))
    baseline = EvidenceTokens(neurons, LAYER, np.array([0, 4]), n_folds=N_FOLDS, plan=PLAN)
    found, beside = collect_evidence([tokens(text), baseline], text.source(), text.lengths)
    same_evidence(found, evidence)
    x = np.full((len(text.lengths), len(text.dense[0]), D), np.nan)
    x[text.block.sequence_id, text.block.position] = text.block.residuals[LAYER]
    values = np.where(x > 1, x, np.where(np.isnan(x), np.nan, 0))
    w = beside.windows
    assert set(w.kind) == {"top", "random", "quantile", "silent"}
    assert "same_stratum" not in w.tier  # no stratum was named
    for i in range(len(w)):
        own = values[w.sequence_id[i], w.start[i] : w.end[i], w.feature_id[i]]
        np.testing.assert_allclose(own, w.activations[i], rtol=1e-6)


def test_windows_of_a_running_model_are_text_of_its_sequences(tmp_path):
    model = load_model(save_tiny_model(tmp_path, n_layers=1), device="cpu", dtype="float32")
    line = "Ein Satz über 日本 und der Rest der Zeile Nr. {}. "
    documents = [Document(str(i), "", line.format(i) * 3) for i in range(30)]
    sequences = list(
        make_sequences(
            documents,
            model.tokenizer,
            seq_len=48,
            n_tokens=None,
            max_sequences_per_document=2,
            min_len=8,
            split_seed=0,
            n_folds=N_FOLDS,
        )
    )
    source = LiveSource(model, sequences, [0], n_folds=N_FOLDS, site="mlp_neurons")
    first = EvidenceTokens(mlp_neurons(model, 0), 0, np.arange(3), n_folds=N_FOLDS, plan=PLAN)
    w = collect_evidence([first], source, {s.sequence_id: len(s.token_ids) for s in sequences})[0].windows
    own, texts = {s.sequence_id: s for s in sequences}, TokenTexts(model.tokenizer)
    assert {"top", "random", "quantile"} <= set(w.kind)
    assert (w.start >= 1).all()  # the first position is left out of collections, and so of windows
    for i in range(len(w)):
        sequence = own[w.sequence_id[i]]
        assert (sequence.split, sequence.document) == (w.split[i], w.document[i])
        shown = whole_tokens(texts.of(sequence.token_ids))[w.start[i] : w.end[i]]
        assert len(shown) == len(w.activations[i])
        # A sequence may begin or end within a character, whose bytes are shown as such.
        assert re.sub("<0x..>", "", "".join(shown)) in documents[int(sequence.document_id)].text
