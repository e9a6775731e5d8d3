"""Attention: the positions a token attends to, and a head in a real model that moves a feature."""

import numpy as np
import pytest
import torch

from ato.models import LanguageModel, load_model
from ato.residuals.attended import most_attended
from ato.residuals.exclusion import ExclusionPolicy
from ato.residuals.live import LiveSource, median_norms
from ato.residuals.pairing import PairedSource
from ato.residuals.position_policies import source_key
from ato.text import TokenSequence
from tests.tiny_models import FAMILIES, save_tiny_model, sequences_of


def test_most_attended_positions_are_the_largest_kept_weights():
    rng = np.random.default_rng(0)
    b, t = 3, 7
    weights = np.tril(rng.random((b, t, t)))
    kept = rng.random((b, t)) < 0.7
    cells = np.flatnonzero(kept)
    found = most_attended(torch.tensor(weights), torch.from_numpy(cells), torch.from_numpy(kept), 9)
    assert found.positions.shape == (len(cells), 9)
    for row, cell in enumerate(cells):
        i, j = divmod(cell, t)
        candidates = [p for p in range(j + 1) if kept[i, p]]
        candidates.sort(key=lambda p: -weights[i, j, p])
        assert found.positions[row].tolist() == candidates + [-1] * (9 - len(candidates))
        np.testing.assert_allclose(found.weights[row, : len(candidates)], weights[i, j, candidates], rtol=1e-6)
        assert (found.weights[row, len(candidates) :] == 0).all()


def test_dropping_tokens_later_leaves_the_attended_positions_of_dropping_them_at_once():
    rng = np.random.default_rng(1)
    weights, kept = torch.tensor(np.tril(rng.random((4, 9, 9)))), rng.random((4, 9)) < 0.8
    fewer = kept & (rng.random((4, 9)) < 0.6)

    def attended(mask, k):
        return most_attended(weights, torch.from_numpy(np.flatnonzero(mask)), torch.from_numpy(mask), k)

    sequence, position = np.divmod(np.flatnonzero(fewer), 9)
    late = attended(kept, 9).select(fewer[kept]).among(sequence, position).top(3)
    at_once = attended(fewer, 3)
    np.testing.assert_array_equal(late.positions, at_once.positions)
    np.testing.assert_array_equal(late.weights, at_once.weights)


@pytest.fixture(scope="module")
def mover(tmp_path_factory) -> LanguageModel:
    """A llama whose block 1 attends to the token before and moves the first half of its stream to the second half.

    Keys are one constant vector, queries the same turned by one position of the rotary embedding, which is largest
    where the key stands one position earlier. Embeddings have equal norms, so that the norm before attention is linear.
    """
    folder = tmp_path_factory.mktemp("mover")
    model = load_model(save_tiny_model(folder), device="cpu", dtype="float32", attention="eager")
    d, half = model.d_model, model.d_model // 2
    generator = torch.Generator().manual_seed(0)
    embedding = model.module.get_input_embeddings().weight.data
    embedding.zero_()
    embedding[:, :half] = torch.nn.functional.normalize(torch.randn(len(embedding), half, generator=generator)) * 6
    for number, block in enumerate(model.blocks):
        block.mlp.down_proj.weight.data.zero_()
        block.self_attn.o_proj.weight.data.zero_()
        if number == 1:
            attend_to_the_token_before(block.self_attn)
            # Heads read the first half of the normed stream; two query heads share each value head, one of them writes.
            block.self_attn.v_proj.weight.data = torch.eye(half, d)
            for value_head in range(2):
                rows = slice(half + 8 * value_head, half + 8 * value_head + 8)
                columns = slice(16 * value_head, 16 * value_head + 8)
                block.self_attn.o_proj.weight.data[rows, columns] = torch.eye(8)
    return model


def attend_to_the_token_before(attention: torch.nn.Module) -> None:
    key, query = torch.zeros(8), torch.zeros(8)
    angle = 10000.0 ** (-torch.arange(4) / 4)  # of one position, per pair of coordinates (i, i + 4)
    key[:4] = 1
    query[:4], query[4:] = torch.cos(angle), -torch.sin(angle)
    for projection, vector, heads in ((attention.k_proj, key, 2), (attention.q_proj, query, 4)):
        projection.weight.data.zero_()
        projection.bias = torch.nn.Parameter(30 * vector.repeat(heads), requires_grad=False)


def test_in_a_real_model_a_feature_moved_by_a_previous_token_head_is_found_under_attended_and_previous(mover):
    rng = np.random.default_rng(0)
    sequences = [
        TokenSequence(i, f"{i:016x}", i, *[("train", i % 2), ("test", None)][i % 5 == 4], 0, ids.astype(np.int32), "")
        for i, ids in enumerate(rng.integers(3, 259, (40, 24)))
    ]
    live = LiveSource(mover, sequences, [0, 1], n_folds=2, attention_layers=[1], attention_top_k=2)
    moved = {}
    for policy in ("same", "previous", "attended", "attended:2", "shuffled"):
        key = source_key(0, 1, policy)
        blocks = [b for b in PairedSource(live, [(0, 1)], policy).blocks() if b.position.min() >= 1]
        x = torch.cat([b.residuals[key][:, :16] for b in blocks]).double().numpy()
        y = torch.cat([b.residuals[1][:, 16:] for b in blocks]).double().numpy()  # the half that attention writes
        late = np.concatenate([b.position for b in blocks]) >= 2  # the token before the first kept one is not kept
        x, y = x[late] - x[late].mean(0), y[late] - y[late].mean(0)
        train = np.arange(len(x)) < len(x) // 2
        errors = y[~train] - x[~train] @ np.linalg.lstsq(x[train], y[train])[0]
        moved[policy] = 1 - (errors**2).sum() / (y[~train] ** 2).sum()
    assert min(moved["previous"], moved["attended"], moved["attended:2"]) > 0.999
    assert abs(moved["same"]) < 0.15
    assert moved["shuffled"] < 0.15


@pytest.fixture(scope="module", params=FAMILIES)
def eager_model(request, tmp_path_factory) -> LanguageModel:
    folder = save_tiny_model(tmp_path_factory.mktemp(request.param), request.param)
    return load_model(folder, device="cpu", dtype="float32", attention="eager")


def test_live_blocks_hold_the_site_and_the_attended_kept_positions_of_each_token(eager_model):
    own = sequences_of([12, 30, 7, 12, 9])
    policy = ExclusionPolicy(skip_special=False, max_norm_multiple=None)
    options = {"n_folds": 2, "batch_size": 2, "policy": policy, "attention_layers": [2, 1], "attention_top_k": 5}
    live = LiveSource(eager_model, own, [1], **options, site="attn_z")
    assert live.d_model == 32
    seen = 0
    for block in live.blocks():
        assert sorted(block.attended) == [1, 2]
        assert block.attended[2].positions.shape == (block.n, 5)
        for row in range(block.n):
            ids = torch.tensor(own[block.sequence_id[row]].token_ids[None].astype(np.int64))
            j = int(block.position[row])
            run = eager_model.read(ids, [ids.shape[1]], [1], attention=[2], site="attn_z")
            torch.testing.assert_close(block.residuals[1][row], run.residuals[1][0, j], rtol=1e-3, atol=1e-4)
            weights = run.attention[2][0, j, 1 : j + 1].numpy()  # position 0 is no source
            positions = block.attended[2].positions[row]
            there = positions >= 0
            assert there.sum() == min(5, (weights > 0).sum())
            np.testing.assert_allclose(block.attended[2].weights[row][there], weights[positions[there] - 1], rtol=1e-3)
            np.testing.assert_allclose(
                block.attended[2].weights[row][there], np.sort(weights)[::-1][: there.sum()], rtol=1e-3
            )
            seen += 1
    assert seen == 65


def test_tokens_dropped_for_their_norm_are_no_sources(tmp_path):
    model = load_model(save_tiny_model(tmp_path), device="cpu", dtype="float32", attention="eager")
    own = sequences_of([30, 30, 30, 30])
    options = {"n_folds": 2, "attention_layers": [2], "attention_top_k": 30, "batch_size": 2}
    medians = median_norms(LiveSource(model, own, [0, 3], **options).blocks())
    limit = ExclusionPolicy(max_norm_multiple=1.1)
    live = LiveSource(model, own, [0, 3], **options, policy=limit, median_norm=medians)
    blocks = list(live.blocks())
    assert 10 < live.dropped["norm_outlier"] < 100
    for block in [*blocks, *live.blocks(layers=[0])]:
        kept = set(zip(block.sequence_id, block.position))
        for row in range(block.n):
            positions = block.attended[2].positions[row]
            earlier = {p for s, p in kept if s == block.sequence_id[row] and p <= block.position[row]}
            assert set(positions[positions >= 0]) == earlier
