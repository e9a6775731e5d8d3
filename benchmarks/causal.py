"""Causal perplexity: all edits of a study against the whole model once per intervention and sequence.

The study's way: one sequence at a time, and for every intervention and set of positions the whole model, edited by
hooks. Both measure the same seven interventions (the unedited model among them) at mid depth and at the study's sets of
positions; ours gives the KL divergence as well. The time of the blocks above the edit alone, run on all tokens of the
same edits without head and softmax, stands beside it. Timed in the precision that the model runs fastest in, compared
in float32.
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ato.causal.interventions import INTERVENTIONS, NO_INTERVENTION, Intervention, PositionSet, ResidualEdits
from ato.causal.losses import causal_losses
from ato.models import LanguageModel, load_model
from ato.models.forward import stream_of
from ato.operators import TransportOperator
from ato.text import TokenSequence
from benchmarks.measurement import Measurement, rate, speedup
from benchmarks.program import run
from benchmarks.shaped_model import SMALL, shaped_model
from benchmarks.timing import seconds, side_by_side

MODEL, SEQ_LEN, BATCH = "smollm2-135m", 128, 8
LARGEST_DIFFERENCE = 1e-3
"""Of a sequence's mean loss in float32, in nats."""
POSITIONS = ("10,50,70,100,120", "11,51,71,101,121", "12,52,72,102,122", "10", "50", "100", "all")


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures on the embedded model, or on a small random one."""

    def model_in(dtype: str) -> LanguageModel:
        return shaped_model(SMALL, dtype=dtype) if quick else load_model(MODEL, dtype=dtype)

    exact = model_in("float32")
    compare(exact, mid_depth(exact, ("10,50,70,100,120", "all")), random_text(exact, 1))
    model = model_in("auto")
    positions, n, rounds = (POSITIONS[:3], 1, 1) if quick else (POSITIONS, 2, 3)
    plan, text = mid_depth(model, positions), random_text(model, n)
    first = mid_depth(model, POSITIONS[-1:])
    causal_losses(model, [first], text[:1])  # both ways once untimed: the first passes are slower
    one_at_a_time(model, first, text[:1])
    ours, peer = side_by_side(
        lambda: causal_losses(model, [plan], text, batch_size=BATCH),
        lambda: one_at_a_time(model, plan, text),
        rounds=rounds,
    )
    what = (
        f"{len(INTERVENTIONS) + 1} interventions at layer {plan.layer} of {model.n_layers}, {len(positions)} position "
        f"sets, {n} sequences, {str(model.dtype).removeprefix('torch.')}"
    )
    yield speedup(
        what,
        ours,
        "the whole model per intervention",
        peer,
        at_least=3.0,
        why_missed="nearly all of the time is matrix products near the peak of the processor: the blocks above the edit, "
        "and a third the logits of every token that an edit can change; fewer tokens follow from later first positions only",
    )
    blocks, _ = seconds(lambda: blocks_above(model, plan, text))
    edits = n * len(plan.names)
    yield rate("edits of a sequence", "edits/s", edits / ours, "the blocks above the edit alone", edits / blocks)


def random_text(model: LanguageModel, n: int) -> list[TokenSequence]:
    """Full-length sequences of random tokens: what is measured does not depend on the text."""
    usable = np.setdiff1d(np.arange(3, 259), sorted(model.special_token_ids))
    rng = np.random.default_rng(0)
    return [
        TokenSequence(i, str(i), i, "test", None, 0, rng.choice(usable, SEQ_LEN).astype(np.int32), "") for i in range(n)
    ]


def mid_depth(model: LanguageModel, positions: tuple[str, ...]) -> ResidualEdits:
    """All interventions half way up, with an operator near the identity."""
    d, target = model.d_model, model.n_layers // 2
    matrix = np.eye(d) + np.random.default_rng(0).normal(0, 0.1 / d**0.5, (d, d))
    operator = TransportOperator(matrix, np.full(d, 0.1), "ridge", target - 2, target, y_mean=np.zeros(d))
    return ResidualEdits(target, {target - 2: operator}, [PositionSet.parse(text) for text in positions])


def compare(model: LanguageModel, plan: ResidualEdits, text: list[TokenSequence]) -> None:
    """Assert that both ways give the same losses."""
    ours, theirs = causal_losses(model, [plan], text).with_unedited(0), one_at_a_time(model, plan, text)
    apart = max(float(np.abs(ours[edit].log_ppl - theirs[edit]).max()) for edit in theirs)
    assert apart < LARGEST_DIFFERENCE, f"a loss differs by {apart:.1e} nats from that of the whole model"


def one_at_a_time(
    model: LanguageModel, plan: ResidualEdits, text: list[TokenSequence]
) -> dict[Intervention, np.ndarray]:
    """Mean losses [n]: a hooked pass of the whole model for each edit, the unedited model once a set of positions."""
    runs: list[tuple[Intervention, ResidualEdits | None]] = [
        (edit, ResidualEdits(plan.layer, plan.operators, [PositionSet.parse(edit.positions)], [edit.name]))
        for edit in plan.names
    ]
    runs += [(NO_INTERVENTION, None)] * (len(runs) // len(INTERVENTIONS))
    losses: dict[Intervention, list[float]] = {edit: [] for edit, _ in runs}
    for sequence in text:
        ids = torch.from_numpy(sequence.token_ids).long()[None].to(model.device)
        found = {edit: hooked_loss(model, plan, ids, alone) for edit, alone in runs}
        for edit, loss in found.items():
            losses[edit].append(loss)
    return {edit: np.array(values) for edit, values in losses.items()}


def hooked_loss(model: LanguageModel, plan: ResidualEdits, ids: torch.Tensor, edit: ResidualEdits | None) -> float:
    """Mean next-token loss of one sequence with one edit: the source layer is read and the target layer replaced."""
    (source,) = plan.operators
    editable = torch.arange(ids.shape[1], device=ids.device) > 0
    seen: dict[int, torch.Tensor] = {}

    def read(block: Any, args: Any, output: Any) -> None:
        seen[source] = stream_of(output)[0]

    def replace(block: Any, args: Any, output: Any) -> Any:
        assert edit is not None
        seen[plan.layer] = stream_of(output)[0]
        ((_, _, edited),) = edit.edits(seen, editable)
        return (edited[None], *output[1:]) if isinstance(output, tuple) else edited[None]

    hooks = [model.blocks[source].register_forward_hook(read)]
    if edit is not None:
        hooks.append(model.blocks[plan.layer].register_forward_hook(replace))
    with torch.no_grad():
        logits = model.module(ids).logits[0, :-1].float()
    for hook in hooks:
        hook.remove()
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:]).item()


def blocks_above(model: LanguageModel, plan: ResidualEdits, text: list[TokenSequence]) -> None:
    """The blocks above the target layer for as many edits as the plan has, in stacks of ``BATCH``."""
    n = len(plan.names)
    for sequence in text:
        ids = torch.from_numpy(sequence.token_ids).long()[None].to(model.device)
        residual = model.residuals(ids, np.array([SEQ_LEN]), [plan.layer])[plan.layer]
        for start in range(0, n, BATCH):
            b = min(BATCH, n - start)
            model.hidden_from(plan.layer, residual.expand(b, -1, -1), ids.expand(b, -1), np.full(b, SEQ_LEN))


if __name__ == "__main__":
    sys.exit(run("causal", measure, __doc__))
