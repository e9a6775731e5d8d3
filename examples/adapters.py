"""Transcoder adapters on SmolLM2: what do a few features beside the base model's MLPs catch of a fine-tuning?

The embedded model is fine-tuned on one topic of the embedded encyclopedia (the MLPs of its last blocks only, so that
the passes below them need no gradient); for each weight of the L1 penalty an adapter is trained to do what the
fine-tuned MLPs do, and judged on articles that neither training saw. Prints a table in Markdown, a row for each sparsity:

    python -m examples.adapters [--l1 0.0001 0.001 0.01] [--steps 200]
"""

import argparse
import copy
import json
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ato.io.embedded import fact_file
from ato.models import LanguageModel, load_model
from ato.numerics.intervals import Estimate
from ato.saes.adapter_quality import AdapterQuality, judge_adapter
from ato.saes.training.adapter import AdapterPlan, train_adapter
from ato.text import TokenSequence

TOPIC, WIDTH = "Mathematics", 48
"""Topic of the articles, and tokens of each; shorter ones are left out."""
LAYERS = (26, 27, 28, 29)
"""Blocks whose MLPs are fine-tuned, and that have an adapter."""
N_TRAIN, N_TEST = 144, 48
"""Articles of both trainings, and of judging."""
FINE_TUNING_ROWS, FINE_TUNING_LR = 2, 2e-4
N_FEATURES, ADAPTER_LR, ADAPTER_ROWS, EPOCHS = 256, 2e-3, 4, 1
HEAD = (
    "l1",
    "L0 by layer",
    "dead",
    "model",
    "KL(tuned to it)",
    "agrees with tuned",
    "KL(base to it)",
    "agrees with base",
)
SHOWN = ("adapted", "base MLPs", "permuted", "fine-tuned")
"""Rows of the table; ``base`` is left out: where no other weight moved it is ``base MLPs``."""


def articles(tokenizer: Any, topic: str = TOPIC, width: int = WIDTH) -> list[TokenSequence]:
    """A document of exactly ``width`` tokens for each article of the topic that has as many.

    Raises:
        UnavailableError: the encyclopedia is not installed.
    """
    every = json.loads(fact_file("articles").read_text(encoding="utf-8")).values()
    extracts = [article["extract"] for article in every if article["topic"] == topic]
    rows = [tokenizer(extract, add_special_tokens=False)["input_ids"][:width] for extract in extracts]
    rows = [np.array(ids, dtype=np.int32) for ids in rows if len(ids) == width]
    return [TokenSequence(i, f"{i:016x}", i, "train", 0, 0, ids, "") for i, ids in enumerate(rows)]


def fine_tuning(
    base: LanguageModel, sequences: Sequence[TokenSequence], layers: Sequence[int], *, steps: Collection[int], rows: int
) -> Iterator[tuple[int, LanguageModel]]:
    """(step, copy whose MLPs of some blocks are trained on next tokens) after each of some steps of one training.

    With Adam on ``rows`` sequences a step, in a seeded order. All are one copy, which is trained on when the next is asked
    for; what a step gives does not depend on the stops before it.
    """
    tuned = LanguageModel(base.identity, copy.deepcopy(base.module), base.tokenizer)
    weights = [weight for layer in layers for weight in tuned.blocks[layer].mlp.parameters()]
    adam = torch.optim.Adam(weights, lr=FINE_TUNING_LR)
    all_ids = torch.tensor(np.stack([s.token_ids for s in sequences]), dtype=torch.long)
    for step, ids in zip(range(1, max(steps) + 1), _batches(all_ids, rows)):
        for weight in weights:
            weight.requires_grad_()
        logits = tuned.parts.logits(tuned.parts.body(input_ids=ids, use_cache=False).last_hidden_state)
        adam.zero_grad()
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        adam.step()
        if step in steps:
            for weight in weights:
                weight.requires_grad_(False)
                weight.grad = None
            yield step, tuned


def _batches(all_ids: torch.Tensor, rows: int) -> Iterator[torch.Tensor]:
    order = np.random.default_rng(0)
    while True:
        for chosen in np.array_split(order.permutation(len(all_ids)), -(-len(all_ids) // rows)):
            yield all_ids[torch.from_numpy(chosen)]


def table_rows(l1: float, judged: AdapterQuality) -> Iterator[tuple[str, ...]]:
    """Rows under ``HEAD`` for one adapter; its sparsity stands in the first only."""
    own = (f"{l1:g}", ", ".join(f"{l0:.0f}" for l0 in judged.l0.values()), f"{judged.dead_share:.0%}")
    for name in SHOWN:
        readings = (judged.kl, judged.agreement, judged.kl_to_base, judged.agreement_with_base)
        yield (*(own if name == "adapted" else ("", "", "")), name, *(_shown(of[name]) for of in readings))


def _shown(of: Estimate) -> str:
    return f"{of.value:.3f} [{of.low:.3f}, {of.high:.3f}]"


def main() -> None:
    """Fine-tune once, then train, judge and print an adapter for each sparsity."""
    parser = argparse.ArgumentParser(prog="python -m examples.adapters", description=__doc__.splitlines()[0])
    parser.add_argument("--l1", type=float, nargs="+", default=[1e-4, 1e-3, 1e-2], help="weights of the L1 penalty")
    parser.add_argument("--steps", type=int, default=200, help="of fine-tuning")
    arguments = parser.parse_args()
    started = time.monotonic()
    base = load_model("smollm2-135m", device="cpu", dtype="float32")
    every = articles(base.tokenizer)
    train, test = every[:N_TRAIN], every[N_TRAIN : N_TRAIN + N_TEST]
    ((_, tuned),) = fine_tuning(base, train, LAYERS, steps=[arguments.steps], rows=FINE_TUNING_ROWS)
    print(f"fine-tuned on {len(train)} articles of {TOPIC} in {arguments.steps} steps: {_minutes(started)}", flush=True)
    for number, l1 in enumerate(arguments.l1):
        plan = AdapterPlan(N_FEATURES, l1=l1, lr=ADAPTER_LR, batch_size=ADAPTER_ROWS, epochs=EPOCHS, lambda_bridge=0)
        trained = train_adapter(tuned, base, train, plan, layers=LAYERS)
        judged = judge_adapter(tuned, base, trained.adapter, test)
        if not number:
            print(f"judged on {judged.n_tokens:,} tokens of {judged.n_documents} other articles")
            print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
        for row in table_rows(l1, judged):
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"{_minutes(started)} in all, {torch.get_num_threads()} threads")


def _minutes(started: float) -> str:
    return f"{(time.monotonic() - started) / 60:.1f} minutes"


if __name__ == "__main__":
    main()
