"""Entities: generated tokens a second against transformers' own ``generate``, and latent scores in one pass.

Both answer the same questions, of unequal lengths, with as many rows at a time and with the same number of new tokens:
greedy, and one greedy beside ten drawn answers. The peer pads on the left and runs a prompt once for each of its
answers. Timed in the precision that the model runs fastest in, greedy answers compared in float32. Steered answers, of
the same questions under many conditions of one layer, are measured against passes over whole prompts. The latent scores
are described in ``benchmarks.entity_latents``.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from ato.entities.steering import Places, Steer, placed_by_row
from ato.models import LanguageModel, load_model
from ato.models.generation import Completion, Decoding, generate
from benchmarks.entity_latents import latent_scores_benchmark
from benchmarks.measurement import Measurement, rate, speedup
from benchmarks.program import run
from benchmarks.shaped_model import SMALL, shaped_model
from benchmarks.timing import side_by_side

MODEL, N_SAMPLES = "smollm2-135m", 10
NAMES = ("Rome", "Ulaanbaatar", "Llanfairpwllgwyngyll", "San Miguel de Allende", "Ho Chi Minh City", "Nice", "Oxnard")
QUESTIONS = (
    "What country contains the city of '{}'? The country that contains the city '{}' is",
    "The population of the city '{}' is",
)


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures of answers, of steered ones and of latent scores."""
    yield from answers(quick)
    yield steered_answers(quick)
    yield from latent_scores_benchmark(quick)


def answers(quick: bool) -> Iterator[Measurement]:
    """Figures on the embedded model, or on a small random one."""

    def model_in(dtype: str) -> LanguageModel:
        return shaped_model(SMALL, dtype=dtype) if quick else load_model(MODEL, dtype=dtype)

    batch, new_tokens, rounds = (4, 4, 1) if quick else (32, 32, 3)
    exact = model_in("float32")
    compare(exact, questions(exact, 8), 16)
    model = model_in("auto")
    for n_samples in (0, N_SAMPLES):
        asked = questions(model, batch if n_samples == 0 else max(1, batch // (n_samples + 1)))
        decoding = Decoding(new_tokens, n_samples, batch_size=len(asked) * (n_samples + 1))
        ours, peer = side_by_side(
            lambda asked=asked, decoding=decoding: generate(model, asked, decoding),  # type: ignore[misc]
            lambda asked=asked, decoding=decoding: transformers_answers(model, asked, decoding),  # type: ignore[misc]
            rounds=rounds,
        )
        n = decoding.batch_size * new_tokens
        yield rate(
            f"generated tokens, {decoding.batch_size} rows of {new_tokens} tokens, {len(asked)} prompts, "
            f"{str(model.dtype).removeprefix('torch.')}",
            "tokens/s",
            n / ours,
            "transformers' batched generate",
            n / peer,
            at_least=0.8,
        )


def steered_answers(quick: bool) -> Measurement:
    """Answers of many conditions at once, with what they leave equal of the prompts run once, and with nothing shared."""
    model = shaped_model(SMALL) if quick else load_model(MODEL)
    n, n_conditions = (4, 16) if quick else (32, 40)
    asked = questions(model, n)
    lengths = [len(ids) for ids in asked]
    places = Places("entity_last_to_end", lengths * n_conditions, [(t - 3, t - 2) for t in lengths] * n_conditions)
    noise = torch.randn(n_conditions, model.d_model, generator=torch.Generator().manual_seed(0))
    changes = [change for direction in noise for change in [Steer(direction, 0.5)] * n]
    edit = placed_by_row(changes, places, model.n_layers // 4)
    decoding = Decoding(12, batch_size=128)
    shared, whole = side_by_side(
        lambda: generate(model, asked * n_conditions, decoding, [edit]),
        lambda: generate(model, asked * n_conditions, decoding, [replace(edit, first=None)]),
        rounds=1,
    )
    return speedup(
        f"steered answers of {decoding.max_new_tokens} tokens, {n} prompts under {n_conditions} conditions",
        shared,
        "passes over whole prompts",
        whole,
        at_least=1.2,
    )


def questions(model: LanguageModel, n: int) -> list[np.ndarray]:
    """Token ids of n questions of unequal lengths."""
    texts = [QUESTIONS[i % 2].replace("{}", NAMES[i % len(NAMES)]) for i in range(n)]
    return [np.array(model.tokenizer.encode(text)) for text in texts]


def compare(model: LanguageModel, asked: list[np.ndarray], new_tokens: int) -> None:
    """Assert that both ways give the same greedy answers."""
    decoding = Decoding(new_tokens, batch_size=len(asked))
    found, theirs = generate(model, asked, decoding), transformers_answers(model, asked, decoding)
    differ = [c.prompt for c in found if not equal(c, theirs[c.prompt])]
    assert not differ, f"the greedy answers to questions {differ} differ from those of transformers"


def equal(completion: Completion, theirs: torch.Tensor) -> bool:
    """Whether an answer is the given tokens."""
    return bool((torch.from_numpy(completion.token_ids) == theirs.cpu()).all())


def transformers_answers(model: LanguageModel, asked: list[np.ndarray], decoding: Decoding) -> torch.Tensor:
    """[rows, new tokens] by ``generate`` of transformers: greedy, and where samples are wanted all rows drawn."""
    longest = max(map(len, asked))
    ids = torch.zeros(len(asked), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(asked):
        ids[row, longest - len(prompt) :] = torch.from_numpy(prompt)
        mask[row, longest - len(prompt) :] = 1
    module: torch.nn.Module = model.module
    found: torch.Tensor = module.generate(  # type: ignore[operator]
        ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=decoding.max_new_tokens,
        min_new_tokens=decoding.max_new_tokens,
        do_sample=decoding.n_samples > 0,
        num_return_sequences=decoding.n_samples + 1,
        top_k=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    return found[:, longest:]


if __name__ == "__main__":
    sys.exit(run("entities", measure, __doc__))
