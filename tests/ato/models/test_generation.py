"""Completions of every supported family: batch and cache change nothing, draws follow the model's own distribution."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from ato.errors import LayerError, ModelError, NonFiniteError, SettingsError
from ato.models import LanguageModel, load_model, pad
from ato.models.cached_run import cached_run
from ato.models.decoded_rows import CachedRows
from ato.models.generation import (
    Completion,
    Decoding,
    GenerationEdit,
    _bisected,
    _key,
    _next_tokens,
    completion_text,
    end_ids,
    generate,
)
from tests.tiny_models import FAMILIES, save_tiny_model

GREEDY = Decoding(max_new_tokens=12, batch_size=8)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param), dtype="float32")


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama")), dtype="float32")


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    """Of unequal lengths, shorter and longer than the sliding windows of 8 tokens."""
    rng = np.random.default_rng(0)
    return [rng.integers(3, 259, n) for n in (21, 5, 13, 1, 30, 13, 9, 2)]


def push(layer: int = 1) -> GenerationEdit:
    """Adds to every second position a vector that differs from prompt to prompt."""

    def function(value: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        size = (positions % 2 == 0) * (1 + rows[:, None] % 3)
        return value + size[..., None] * torch.linspace(-1, 1, value.shape[-1])

    return GenerationEdit(layer, function)


def same(found: list[Completion], expected: list[Completion]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        assert (ours.sample, ours.token_ids.tolist()) == (theirs.sample, theirs.token_ids.tolist())
        assert ours.log_probability == pytest.approx(theirs.log_probability, abs=1e-3)


@pytest.mark.parametrize("edits", [(), (push(),)], ids=["unedited", "edited"])
def test_a_batch_of_eight_answers_as_eight_batches_of_one(model, prompts, edits):
    decoding = Decoding(max_new_tokens=12, n_samples=1, batch_size=16)
    whole = generate(model, prompts, decoding, edits)
    one = Decoding(max_new_tokens=12, n_samples=1, batch_size=1)
    same(generate(model, prompts, one, edits), whole)
    assert [(c.prompt, c.sample) for c in whole] == [(i, s) for i in range(8) for s in range(2)]


@pytest.mark.parametrize(
    "edits", [(), (push(),), (push(0), push(2), push(2))], ids=["unedited", "edited", "three edits"]
)
def test_the_cache_changes_nothing(model, prompts, edits):
    cached, whole = (Decoding(max_new_tokens=12, n_samples=1, batch_size=7, cache=cache) for cache in (True, False))
    same(generate(model, prompts, cached, edits), generate(model, prompts, whole, edits))


def test_an_edit_changes_answers(model, prompts):
    plain, edited = generate(model, prompts, GREEDY), generate(model, prompts, GREEDY, [push()])
    assert any(a.token_ids.tolist() != b.token_ids.tolist() for a, b in zip(plain, edited))


def test_log_probabilities_are_those_of_a_full_forward_of_the_same_ids(model, prompts):
    for completion in generate(model, prompts, Decoding(max_new_tokens=9, n_samples=2, temperature=1.5)):
        prompt = prompts[completion.prompt]
        batch = pad([np.concatenate([prompt, completion.token_ids])])
        losses = model.token_losses(*batch)[0, len(prompt) - 1 :]
        assert len(losses) == len(completion.token_ids)
        assert completion.log_probability == pytest.approx(-float(losses.sum()), abs=1e-3)


def test_greedy_answers_are_those_of_transformers(model, prompts):
    for completion, prompt in zip(generate(model, prompts, GREEDY), prompts):
        theirs = model.module.generate(
            torch.tensor(prompt)[None], max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        assert completion.token_ids.tolist() == theirs[0, len(prompt) :].tolist()


def test_an_exception_in_an_edit_leaves_the_model_bit_equal(model, prompts):
    before = model.token_losses(*pad(prompts))
    calls = []

    def fails(value: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        calls.append(positions)
        if len(calls) == 3:  # in the second step of generation
            raise RuntimeError("planned")
        return value * 2

    with pytest.raises(RuntimeError, match="planned"):
        generate(model, prompts, GREEDY, [push(0), GenerationEdit(2, fails)])
    assert torch.equal(model.token_losses(*pad(prompts)), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.module.modules())


def test_edits_are_told_prompts_and_absolute_positions(llama, prompts):
    seen: dict[int, list[int]] = {}

    def watch(value: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        assert value.shape[:2] == positions.shape
        for row, own in zip(rows.tolist(), positions.tolist()):
            seen.setdefault(row, []).extend(p for p in own if p >= 0)
        return value

    generate(llama, prompts, Decoding(max_new_tokens=4, batch_size=3), [GenerationEdit(3, watch)])
    # The last token is drawn, but not run.
    assert seen == {i: list(range(len(ids) + 3)) for i, ids in enumerate(prompts)}


def test_other_sites_are_edited_too(llama, prompts):
    def silence(value: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(value)

    edits = [GenerationEdit(layer, silence, site) for layer in range(4) for site in ("attn_out",)]
    alone = [ids[-1:] for ids in prompts]
    # Without attention only the last token matters.
    found, expected = (generate(llama, p, GREEDY, edits) for p in (prompts, alone))
    assert [c.token_ids.tolist() for c in found] == [c.token_ids.tolist() for c in expected]


def test_draws_follow_the_softmax_of_the_logits(llama, prompts):
    n, temperature = 4000, 0.7
    decoding = Decoding(max_new_tokens=1, n_samples=n, batch_size=n + 1, temperature=temperature)
    tokens = [int(c.token_ids[0]) for c in generate(llama, prompts[:1], decoding)[1:]]
    ids, lengths = pad(prompts[:1])
    logits = llama.logits(cached_run(llama, ids, lengths, []).hidden[0, -1]).double()
    expected = (logits / temperature).softmax(0).numpy() * n
    counts = np.bincount(tokens, minlength=len(expected))
    rare = expected < 5
    pooled = [np.append(x[~rare], x[rare].sum()) for x in (counts, expected)]
    assert stats.chisquare(*pooled).pvalue > 1e-3


def test_rounding_errors_tip_hardly_any_draw():
    generator = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(1, 5000, generator=generator)).softmax(1).expand(4000, -1)
    error = 1 + 1e-5 * torch.randn(4000, 5000, generator=generator)
    uniform = torch.rand(4000, 13, generator=generator, dtype=torch.float64)
    rows = torch.arange(4000)
    assert (_bisected(p, uniform, rows) != _bisected(p * error, uniform, rows)).float().mean() < 1e-3


def test_draws_depend_on_seed_prompt_and_sample_alone(llama, prompts):
    def texts(order: list[int], batch_size: int, n_samples: int = 3, seed: int = 0) -> dict:
        decoding = Decoding(max_new_tokens=6, n_samples=n_samples, batch_size=batch_size, seed=seed)
        found = generate(llama, [prompts[i] for i in order], decoding)
        return {(order[c.prompt], c.sample): tuple(c.token_ids) for c in found}

    whole = texts(list(range(8)), 64)
    assert texts([5, 2], 1).items() <= whole.items()
    assert texts([7, 6, 5, 4, 3, 2, 1, 0], 3) == whole
    assert texts([0], 2, n_samples=1).items() <= whole.items()
    assert texts(list(range(8)), 64, seed=1) != whole
    assert len({whole[0, sample] for sample in range(4)}) == 4


def test_completions_that_begin_alike_are_run_once(model, prompts, monkeypatch):
    decoding = Decoding(max_new_tokens=5, n_samples=9, batch_size=64, temperature=0.15)
    rows, step = [], CachedRows.step

    def counted(self, tokens):
        rows.append(len(tokens))
        return step(self, tokens)

    monkeypatch.setattr(CachedRows, "step", counted)
    found = generate(model, prompts, decoding)
    begins = {(c.prompt, n, tuple(c.token_ids[:n])) for c in found for n in range(1, 5)}
    assert sum(rows) == len(begins) < 80 * 4  # each beginning of an answer once
    same(generate(model, prompts, replace(decoding, batch_size=3)), found)
    same(generate(model, prompts, replace(decoding, cache=False)), found)


def test_draws_are_those_of_single_completions_run_from_their_beginning(llama, prompts):
    decoding = Decoding(max_new_tokens=4, n_samples=3, temperature=0.5, seed=5)
    for completion in generate(llama, prompts[:3], decoding):
        ids = prompts[completion.prompt]
        for step, token in enumerate(completion.token_ids.tolist()):
            logits = llama.logits(cached_run(llama, *pad([ids]), []).hidden[0, -1:]).float()
            draws = (np.array([x]) for x in (_key(prompts[completion.prompt]), completion.sample, step))
            assert int(_next_tokens(logits, decoding, [0], tuple(draws))[0]) == token
            ids = np.append(ids, token)


def test_a_completion_ends_with_a_stop_id_and_leaves_the_others_alone(llama, prompts):
    free = generate(llama, prompts, GREEDY)
    stop = int(free[2].token_ids[4])
    for plain, stopped in zip(free, generate(llama, prompts, Decoding(12, stop_ids=(stop,), batch_size=8))):
        ids = plain.token_ids.tolist()
        n = ids.index(stop) + 1 if stop in ids else len(ids)
        assert stopped.token_ids.tolist() == ids[:n]
        assert stopped.ended == (stop in ids)
    assert not any(c.ended for c in free)


def test_a_completion_ends_with_its_first_line_that_is_not_blank(llama):
    text = list(b"\n \nRoma\nno")
    newline, space = (llama.tokenizer.encode(t, add_special_tokens=False)[0] for t in "\n ")
    wanted = llama.tokenizer.encode(bytes(text).decode(), add_special_tokens=False)
    assert (wanted[0], wanted[1]) == (newline, space)

    def dictate(value: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """The last block's output becomes the unembedding of the token that is to come."""
        following = torch.tensor(wanted)[positions.clamp(0, len(wanted) - 1)]
        norm = llama.parts.final_norm.weight
        return llama.parts.head.weight[following] / norm * 100

    decoding = Decoding(max_new_tokens=20, stop_at_newline=True)
    (found,) = generate(llama, [np.array([1])], decoding, [GenerationEdit(3, dictate)])
    assert found.token_ids.tolist() == wanted[:8]  # the newline behind the word is the last
    assert found.ended
    assert completion_text(llama, found, decoding) == "Roma"


def test_a_sequence_that_fills_the_context_is_answered_and_a_longer_one_refused(llama):
    prompt = np.full(508, 7)
    assert len(generate(llama, [prompt], Decoding(max_new_tokens=4))[0].token_ids) == 4
    with pytest.raises(ModelError, match="508 tokens and 5 more exceed the model's context of 512"):
        generate(llama, [prompt], Decoding(max_new_tokens=5))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 0.0}, "sample 0 is greedy"),
        ({"max_new_tokens": 0}, "use 1 or more"),
        ({"n_samples": -1}, "0 or"),
    ],
)
def test_decoding_out_of_range_is_refused(change, words):
    with pytest.raises(SettingsError, match=words):
        Decoding(**change)


def test_what_cannot_be_run_is_refused_in_one_line(llama, prompts):
    with pytest.raises(ModelError, match="prompt 1"):
        generate(llama, [prompts[0], prompts[0][:0]], GREEDY)
    with pytest.raises(LayerError, match="0 to 3"):
        generate(llama, prompts, GREEDY, [push(4)])
    with pytest.raises(SettingsError, match="one site"):
        generate(llama, prompts, GREEDY, [push(), GenerationEdit(1, push().function, "mlp_out")])
    with pytest.raises(NonFiniteError, match="not finite"):
        generate(llama, prompts, GREEDY, [GenerationEdit(1, lambda value, rows, positions: value * float("nan"))])
    assert generate(llama, [], GREEDY) == []


def test_ends_of_answers_are_read_from_tokenizer_and_model(llama):
    assert end_ids(llama) == (2,)
