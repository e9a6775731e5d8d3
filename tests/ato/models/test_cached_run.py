"""Rows that are run again from a position on, for every supported family, against passes over all tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ato.models import LanguageModel, load_model, pad
from ato.models.cached_run import cached_run, rerun, residuals_after
from tests.tiny_models import FAMILIES, plant_linear_blocks, save_tiny_model

LENGTHS = [24, 17, 24, 5]
"""The sliding windows of the tiny models hold 8 tokens."""


@pytest.fixture(scope="module", params=[(f, "sdpa") for f in FAMILIES] + [("gemma3", "eager")], ids="-".join)
def model(request, tmp_path_factory) -> LanguageModel:
    family, attention = request.param
    folder = save_tiny_model(tmp_path_factory.mktemp(family), family)
    return load_model(folder, device="cpu", dtype="float32", attention=attention)


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return pad([rng.integers(3, 259, n) for n in LENGTHS])


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def check(model: LanguageModel, batch, rows: list[int], first: list[int], layer: int, n: int) -> None:
    """Edit n tokens of these rows from their positions on: the hidden states are those of the whole rows."""
    ids, lengths = batch
    run = cached_run(model, ids, lengths, [1, layer])
    residual = run.residuals[layer][rows].clone()
    suffix = torch.zeros(len(rows), n, model.d_model)
    for i, (row, start) in enumerate(zip(rows, first)):
        own = slice(start, min(start + n, int(lengths[row])))
        residual[i, own] += noise(own.stop - start, model.d_model)
        suffix[i, : own.stop - start] = residual[i, own]
    found = rerun(model, run, torch.tensor(rows), torch.tensor(first), layer, suffix).hidden
    expected = model.hidden_from(layer, residual, ids[rows], lengths[rows])
    assert found.shape == (len(rows), n, model.d_model)
    for i, (row, start) in enumerate(zip(rows, first)):
        end = min(start + n, int(lengths[row]))
        torch.testing.assert_close(found[i, : end - start], expected[i, start:end], rtol=1e-4, atol=1e-5)


def test_the_run_is_that_of_plain_passes(model, batch):
    ids, lengths = batch
    run, real = cached_run(model, ids, lengths, [2, 0]), torch.arange(ids.shape[1]) < lengths[:, None]
    assert sorted(run.residuals) == [0, 2]
    for layer, residual in model.residuals(ids, lengths, [0, 2]).items():
        torch.testing.assert_close(run.residuals[layer][real], residual[real], rtol=1e-4, atol=1e-5)
    losses = model.losses(run.hidden, ids, lengths)
    torch.testing.assert_close(losses, model.token_losses(ids, lengths), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("first", [0, 1, 13, 23])
def test_rows_run_again_from_a_position_equal_passes_over_all_tokens(model, batch, layer, first):
    check(model, batch, [0, 2, 2], [first] * 3, layer, 24 - first)


def test_every_row_starts_at_its_own_position_and_may_be_shorter_than_the_others(model, batch):
    check(model, batch, [1, 3, 0, 0, 2], [9, 4, 20, 0, 11], 1, 13)


@pytest.mark.parametrize("keeps", [True, False], ids=["with keys and values", "without"])
def test_residuals_of_a_later_block_are_those_of_whole_passes_and_no_block_behind_it_is_run(model, batch, keeps):
    (ids, lengths), (layer, target), rows, first = batch, (1, 2), [0, 2, 1], [9, 0, 16]
    run = cached_run(model, ids, lengths, [layer, target], stop=target)
    run = run if keeps else replace(run, keys_values=None)
    edited = torch.stack([run.residuals[layer][row, at] for row, at in zip(rows, first)]) + noise(3, model.d_model)
    found = residuals_after(model, run, torch.tensor(rows), torch.tensor(first), (layer, edited[:, None]), target)
    for i, (row, at) in enumerate(zip(rows, first)):

        def edit(stream, at=at, new=edited[i]):
            stream = stream.clone()
            stream[0, at] = new
            return stream

        expected = model.run_padded(ids[[row]], lengths[[row]], edits={layer: edit}, read=[target]).residuals[target]
        torch.testing.assert_close(found[i, 0], expected[0, at], rtol=1e-4, atol=1e-5)


def test_rows_that_were_run_again_can_be_run_again(model, batch):
    ids, lengths, layer = *batch, 1
    run = cached_run(model, ids, lengths, [layer])
    rows, first, later = [0, 2, 1], torch.tensor([9, 4, 6]), torch.tensor([15, 20, 7])
    residual = run.residuals[layer][rows] + noise(3, 24, model.d_model)
    for i, start in enumerate(first):
        residual[i, :start] = run.residuals[layer][rows[i], :start]
    suffix = torch.stack([torch.roll(own, -int(start), 0)[:20] for own, start in zip(residual, first)])
    again = rerun(model, run, torch.tensor(rows), first, layer, suffix)
    edited = residual[[2, 0, 1]].clone()
    for own, start in zip(edited, later):
        own[start:] *= 2
    suffix = torch.stack([torch.roll(own, -int(start), 0)[:17] for own, start in zip(edited, later)])
    found = rerun(model, again, torch.tensor([2, 0, 1]), later, layer, suffix).hidden
    expected = model.hidden_from(layer, edited, ids[[1, 0, 2]], lengths[[1, 0, 2]])
    for i, (start, end) in enumerate(zip(later, lengths[[1, 0, 2]])):
        torch.testing.assert_close(found[i, : end - start], expected[i, start:end], rtol=1e-4, atol=1e-5)


def test_a_pass_need_not_reach_the_end_of_the_row(model, batch):
    check(model, batch, [0, 1, 2], [3, 10, 12], 2, 5)


def test_only_the_tokens_behind_the_position_are_run(model, batch):
    run, seen = cached_run(model, *batch, [1]), []
    hook = model.blocks[3].register_forward_hook(lambda block, args, output: seen.append(args[0].shape[:2]))
    try:
        rerun(model, run, torch.tensor([0, 2]), torch.tensor([20, 22]), 1, noise(2, 4, model.d_model))
    finally:
        hook.remove()
    assert seen == [(2, 4)]
    assert sorted(run.keys_values) == [2, 3]


@pytest.mark.parametrize("batched", [False, True])
def test_a_model_of_another_family_runs_all_tokens_and_gives_the_same(batch, tmp_path, batched, monkeypatch):
    model = load_model(save_tiny_model(tmp_path), device="cpu", dtype="float32")
    monkeypatch.setattr(model, "parts", replace(model.parts, cache=False))
    assert cached_run(model, *batch, [1]).keys_values is None
    check(model, batch, [1, 3, 0, 2], [9, 4, 20, 11] if batched else [4] * 4, 1, 13)


def test_blocks_that_keep_nothing_need_nothing(batch, tmp_path):
    model = load_model(save_tiny_model(tmp_path), device="cpu", dtype="float32")
    plant_linear_blocks(model.blocks, [0.1 * np.eye(model.d_model)] * model.n_layers)
    check(model, batch, [1, 3, 0, 2], [9, 4, 20, 11], 1, 13)
