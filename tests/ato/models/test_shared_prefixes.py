"""What edits cannot change is run once, and all that comes out is what passes over whole prompts give."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ato.entities.outcomes import self_report
from ato.entities.steering import POSITION_MODES, Ablate, Places, Steer, placed, placed_by_row
from ato.models import LanguageModel, load_model, pad
from ato.models.generation import Decoding, GenerationEdit, generate
from ato.models.prompt_pass import prompt_pass
from ato.models.scoring import answer_log_probabilities
from ato.models.shared_prefixes import prompt_ends, sharing_batches
from tests.tiny_models import save_tiny_model

SPANS = ((3, 9), (0, 5), (12, 13), (8, 10))
CHANGES = (Steer(torch.linspace(-1, 1, 32), 1.5), None, Ablate(torch.ones(32)), lambda x: x + torch.linspace(2, -2, 32))
N = len(SPANS) * len(CHANGES)


@pytest.fixture(scope="module", params=["llama", "gemma2", "gpt2"])
def model(request, tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param), dtype="float32")


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    """Four prompts under four conditions each, shorter and longer than the sliding windows of 8 tokens."""
    rng = np.random.default_rng(0)
    return [rng.integers(3, 259, n) for n in (21, 5, 13, 13)] * len(CHANGES)


def by_row(prompts: list[np.ndarray], mode: str, layer: int, site: str = "resid_post") -> GenerationEdit:
    changes = [change for change in CHANGES for _ in SPANS]
    return placed_by_row(changes, Places(mode, [len(ids) for ids in prompts], SPANS * len(CHANGES)), layer, site)


def unshared(edits: list[GenerationEdit]) -> list[GenerationEdit]:
    return [replace(edit, first=None) for edit in edits]


def tokens_run(monkeypatch) -> list[int]:
    counts = []
    forward = LanguageModel.forward

    def counted(self, ids, *args, **options):
        counts.append(ids.numel())
        return forward(self, ids, *args, **options)

    monkeypatch.setattr(LanguageModel, "forward", counted)
    return counts


@pytest.mark.parametrize("mode", POSITION_MODES)
@pytest.mark.parametrize(("layer", "site"), [(1, "resid_post"), (3, "resid_post"), (0, "attn_out"), (2, "mlp_out")])
def test_last_tokens_are_those_of_whole_passes(model, prompts, mode, layer, site, monkeypatch):
    edits = [by_row(prompts, mode, layer, site)]
    expected = prompt_pass(model, prompts, range(N), edits)
    counts = tokens_run(monkeypatch)
    found = prompt_ends(model, prompts, range(N), edits, keep_cache=True)
    torch.testing.assert_close(found.last, expected.last, rtol=1e-4, atol=1e-4)
    assert len(counts) == 2
    torch.testing.assert_close(prompt_ends(model, prompts, range(N), unshared(edits)).last, expected.last)


@pytest.mark.parametrize("mode", POSITION_MODES)
def test_answers_scores_and_reports_are_those_of_whole_passes(model, prompts, mode):
    rng = np.random.default_rng(1)
    answers = [[rng.integers(3, 259, n) for n in (1, 4)] for _ in prompts]
    everywhere = placed(Ablate(torch.linspace(1, 2, 32)), Places("question_end", [len(ids) for ids in prompts]), 2)
    for edits in ([by_row(prompts, mode, 1)], [by_row(prompts, mode, 2), everywhere]):
        decoding = Decoding(max_new_tokens=6, n_samples=2, batch_size=16)
        found = generate(model, prompts, decoding, edits)
        for one in (decoding, replace(decoding, batch_size=1), replace(decoding, cache=False)):
            expected = generate(model, prompts, one, unshared(edits))
            assert [c.token_ids.tolist() for c in found] == [c.token_ids.tolist() for c in expected]
            ours, theirs = ([c.log_probability for c in x] for x in (found, expected))
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)
        scores, plain = (answer_log_probabilities(model, prompts, answers, x) for x in (edits, unshared(edits)))
        np.testing.assert_allclose(scores, plain, rtol=1e-5, atol=1e-4)
        for size in (3, 16):
            reports, plain = (
                self_report(model, prompts, x, yes_no=(70, 80), batch_size=size) for x in (edits, unshared(edits))
            )
            np.testing.assert_allclose(reports, plain, rtol=1e-4, atol=1e-4)


def test_equal_prompts_are_run_once_and_then_from_their_first_edited_token(model, prompts, monkeypatch):
    edits = [by_row(prompts, "question_end", 1)]
    counts = tokens_run(monkeypatch)
    prompt_ends(model, prompts, range(N), edits)
    assert counts == [4 * 21, N]  # four prompts padded to 21 tokens, then the last token of each


def test_what_is_unknown_or_different_everywhere_is_run_as_a_whole(model, prompts, monkeypatch):
    counts = tokens_run(monkeypatch)
    prompt_ends(model, prompts, range(N), unshared([by_row(prompts, "question_end", 1)]))
    prompt_ends(model, prompts[:4], range(4), [by_row(prompts, "entity", 1)])
    assert counts == [N * 21, 4 * 21]
    monkeypatch.setattr("ato.models.shared_prefixes.caches", lambda model: False)
    prompt_ends(model, prompts, range(N), [by_row(prompts, "question_end", 1)])
    assert counts[2:] == [N * 21]


def test_batches_hold_equal_prompts_together_and_every_prompt_once(prompts):
    batches = list(sharing_batches(prompts, [by_row(prompts, "entity", 1)], 5))
    assert sorted(i for batch in batches for i in batch) == list(range(N))
    assert max(map(len, batches)) == 5
    edited = [i % 4 for batch in batches for i in batch if CHANGES[i // 4] is not None]
    assert [edited[start : start + 3] for start in (0, 3, 6, 9)] == [[i] * 3 for i in (2, 1, 3, 0)]  # by tokens to run


def test_an_exception_in_a_shared_pass_leaves_the_model_bit_equal(model, prompts):
    before = model.token_losses(*pad(prompts[:4]))

    def fails(value: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("planned")

    first = by_row(prompts, "question_end", 2).first
    with pytest.raises(RuntimeError, match="planned"):
        generate(model, prompts, Decoding(), [by_row(prompts, "entity", 1), GenerationEdit(2, fails, first=first)])
    assert torch.equal(model.token_losses(*pad(prompts[:4])), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.module.modules())
    assert not any("forward" in block.__dict__ for block in model.blocks)
