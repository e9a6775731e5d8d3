"""The batched ablation equals a plain loop that runs the whole model once a feature and sequence."""

from dataclasses import astuple

import numpy as np
import pytest
import torch

import ato
from ato.causal.ablation import ablation_effects
from ato.errors import InputError
from ato.models import LanguageModel
from ato.numerics.intervals import MIN_DOCUMENTS, Estimate, document_interval
from ato.saes import SparseAutoencoder
from ato.text import TokenSequence
from tests.tiny_models import save_identity_model, save_tiny_model

D, D_SAE, SILENT = 32, 24, 3


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request, tmp_path_factory) -> LanguageModel:
    folder = save_tiny_model(tmp_path_factory.mktemp(request.param), request.param, n_layers=3, d_model=D)
    return ato.load_model(folder, device="cpu", dtype="float32")


def make_sae(seed: int = 0, scale: float = 1.0) -> SparseAutoencoder:
    rng = np.random.default_rng(seed)
    decoder = rng.normal(size=(D_SAE, D))
    b_enc = np.zeros(D_SAE)
    b_enc[SILENT] = -1e6
    parts = (decoder.T, b_enc, scale * decoder / np.linalg.norm(decoder, axis=1, keepdims=True), np.zeros(D))
    return SparseAutoencoder("topk", *(torch.tensor(p, dtype=torch.float32) for p in parts), k=3)


def make_sequences(n: int = 9, longest: int = 20) -> list[TokenSequence]:
    rng = np.random.default_rng(1)
    lengths = rng.integers(4, longest + 1, size=n)
    return [
        TokenSequence(i, f"{i // 2:016x}", i // 2, "val", None, 0, rng.integers(3, 259, size=m).astype(np.int32), "")
        for i, m in enumerate(lengths)
    ]


def plain_loop(model, layer, sae, features, sequences, *, n_sequences, n_tokens):
    """Feature -> {document: (rise, predicted tokens)}, by whole passes of the model."""
    found = {}
    for f in features:
        rows = []
        for number, q in enumerate(sequences):
            ids, lengths = torch.as_tensor(q.token_ids[: 2 * n_tokens].astype(np.int64))[None], None
            lengths = torch.tensor([ids.shape[1]])
            a = sae.encode(model.residuals(ids, lengths, [layer])[layer][0])[:, f].clone()
            a[0] = a[-1] = 0  # position 0 is never edited, from the last token nothing is predicted
            if a.max() > 0:
                rows.append((-a.max().item(), number, q.document, ids, lengths, a))
        rows.sort(key=lambda row: row[:2])
        seen = [row[2] for row in rows]
        turn = [seen[:i].count(d) for i, d in enumerate(seen)]  # how often the document was there before
        rows = [rows[i] for i in sorted(range(len(rows)), key=lambda i: (turn[i], *rows[i][:2]))]
        sums: dict[int, list[float]] = {}
        for _, _, document, ids, lengths, a in rows[:n_sequences]:
            n, peak = ids.shape[1], int(a.argmax())
            start = max(0, min(peak - (n_tokens - 1) // 2, n - n_tokens))
            end = min(n, start + n_tokens)
            inside = torch.zeros(n, dtype=torch.bool)
            inside[start : end - 1] = True
            edit = (a * inside)[:, None] * sae.W_dec[f]
            rise = model.token_losses(ids, lengths, lambda x, e=edit: x - e, layer) - model.token_losses(ids, lengths)
            first = int((a * inside > 0).nonzero()[0])
            total = sums.setdefault(document, [0.0, 0])
            total[0] += rise[0, first : end - 1].double().sum().item()
            total[1] += end - 1 - first
        found[f] = sums
    return found


@pytest.mark.parametrize("batch_size", [1, 5])
def test_effects_are_those_of_whole_passes_feature_by_feature(model, batch_size):
    saes = {"low": (0, make_sae(), np.array([5, 0, SILENT, 11])), "high": (1, make_sae(1), np.array([2, 7]))}
    sequences, options = make_sequences(), {"n_sequences": 3, "n_tokens": 6}
    effects = ablation_effects(model, saes, sequences, batch_size=batch_size, **options)
    for name, (layer, sae, features) in saes.items():
        expected = plain_loop(model, layer, sae, features, sequences, **options)
        found = effects[name]
        assert found.feature_id.tolist() == features.tolist()
        for i, f in enumerate(features):
            sums = np.array(list(expected[f].values())).reshape(-1, 2)
            assert found.n_documents[i] == len(sums)
            assert found.n_tokens[i] == sums[:, 1].sum()
            if f == SILENT:
                assert found.effect[i] == Estimate(None)
            else:
                effect = found.effect[i]
                assert effect.value == pytest.approx(sums[:, 0].sum() / sums[:, 1].sum(), abs=2e-5)
                assert abs(effect.value) > 1e-4
                assert (effect.low is None) == (len(sums) < MIN_DOCUMENTS)


def test_the_interval_is_that_of_documents_left_out(model):
    sae, sequences = make_sae(), make_sequences()
    features = np.arange(D_SAE)
    found = ablation_effects(model, {"a": (1, sae, features)}, sequences, n_sequences=9, n_tokens=10)["a"]
    expected = plain_loop(model, 1, sae, [4], sequences, n_sequences=9, n_tokens=10)[4]
    sums = np.zeros((5, 2))
    for document, values in expected.items():
        sums[document] = values
    with np.errstate(invalid="ignore"):
        effect = document_interval(sums, lambda s: s[:, 0] / s[:, 1], sums[:, 1]).item()
    assert astuple(found.effect[4]) == pytest.approx(astuple(effect), abs=2e-5)


def test_one_document_gives_an_effect_without_an_interval(model):
    found = ablation_effects(model, {"a": (1, make_sae(), np.arange(D_SAE))}, make_sequences(2), n_tokens=8)["a"]
    fires = found.n_tokens > 0
    assert fires.any()
    assert (found.n_documents[fires] == 1).all()
    assert np.isfinite(found.effect.value[fires]).all()
    assert np.isnan([found.effect.low, found.effect.high]).all()


def test_a_feature_that_writes_nothing_has_no_effect(model):
    found = ablation_effects(model, {"a": (1, make_sae(scale=0.0), np.arange(6))}, make_sequences(), n_tokens=8)["a"]
    np.testing.assert_allclose(found.effect.value[found.n_tokens > 0], 0, atol=1e-6)


def test_in_a_network_of_empty_blocks_only_the_edited_position_changes(tmp_path):
    model = ato.load_model(save_identity_model(tmp_path, n_layers=3, d_model=D), device="cpu", dtype="float32")
    sae, (sequence,) = make_sae(), make_sequences(1)
    found = ablation_effects(model, {"a": (0, sae, np.arange(D_SAE))}, [sequence], n_sequences=1, n_tokens=40)["a"]
    ids = torch.as_tensor(sequence.token_ids.astype(np.int64))
    x = model.residuals(ids[None], torch.tensor([len(ids)]), [0])[0][0]
    a = sae.encode(x)[:-1]
    a[0] = 0
    for f in np.flatnonzero(found.n_tokens):
        loss = [
            torch.nn.functional.cross_entropy(model.logits(model.parts.final_norm(h[:-1])), ids[1:], reduction="none")
            for h in (x, torch.cat([x[:-1] - a[:, f, None] * sae.W_dec[f], x[-1:]]))
        ]
        first = int((a[:, f] > 0).nonzero()[0])
        assert found.effect.value[f] == pytest.approx((loss[1] - loss[0])[first:].mean().item(), abs=2e-5)


def test_special_tokens_and_norm_outliers_are_never_edited(model):
    sae, sequences = make_sae(), make_sequences()
    for q in sequences:
        q.token_ids[1::2] = 2
    saes = {"a": (1, sae, np.arange(D_SAE))}
    marked = ablation_effects(model, saes, sequences, n_tokens=8)["a"]
    assert (marked.n_tokens > 0).any()
    nothing = ablation_effects(model, saes, sequences, n_tokens=8, median_norm={1: 1e-6})["a"]
    assert (nothing.n_tokens == 0).all()
    for q in sequences:
        q.token_ids[:] = 2
    assert (ablation_effects(model, saes, sequences, n_tokens=8)["a"].n_tokens == 0).all()


def test_progress_counts_every_window_once(model):
    heard = []
    ablation_effects(
        model,
        {"a": (1, make_sae(), np.arange(4))},
        make_sequences(),
        n_tokens=8,
        batch_size=3,
        on_rows=lambda done, total: heard.append((done, total)),
    )
    assert heard[-1][0] == heard[-1][1] > 0
    assert [done for done, _ in heard] == sorted({done for done, _ in heard})


def test_no_text_and_no_candidate_give_missing_values(model):
    found = ablation_effects(model, {"a": (1, make_sae(), np.arange(4))}, [], n_tokens=8)["a"]
    assert np.isnan(found.effect.value).all()
    empty = ablation_effects(model, {"a": (1, make_sae(), np.zeros(0, dtype=int))}, make_sequences(), n_tokens=8)["a"]
    assert len(empty.effect.value) == 0


def test_a_feature_beyond_the_sae_and_a_window_of_one_token_are_refused(model):
    with pytest.raises(InputError, match="features 0 to 23"):
        ablation_effects(model, {"a": (1, make_sae(), np.array([D_SAE]))}, make_sequences())
    with pytest.raises(InputError, match="window of 1"):
        ablation_effects(model, {"a": (1, make_sae(), np.array([0]))}, make_sequences(), n_tokens=1)
