"""Causal perplexity: this platform against the study's way, in one run.

    python benchmarks/causal.py [--quick]

The study's way: one sequence at a time, and for every intervention and set of positions the whole model, edited by
hooks. Both measure the same seven interventions (the unedited model among them) at mid depth and at the study's sets
of positions; ours gives the KL divergence as well. Timed in the precision that the model runs fastest in, compared in
float32.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ato.causal import causal_losses, full_length_sequences
from ato.forward import stream_of
from ato.interventions import INTERVENTIONS, NO_EDIT, Edit, PositionSet, ResidualEdits
from ato.models import LanguageModel, load_model
from ato.operators import TransportOperator
from ato.text import Sequence, make_sequences
from warehouse.corpora import read_documents

MODEL, CORPUS, SEQ_LEN = "smollm2-135m", "sotu", 128
TARGET = 3.0
LARGEST_DIFFERENCE = 1e-3
"""Of a sequence's mean loss in float32, in nats."""
POSITIONS = ("10,50,70,100,120", "11,51,71,101,121", "12,52,72,102,122", "10", "50", "100", "all")


def held_out_text(model: LanguageModel, n: int) -> list[Sequence]:
    """Full-length sequences of the demo corpus."""
    made = make_sequences(
        read_documents(CORPUS), model.tokenizer, seq_len=SEQ_LEN, n_tokens=2 * n * SEQ_LEN, min_len=SEQ_LEN,
        max_sequences_per_document=2, split_seed=0, n_folds=2,
    )  # fmt: skip
    return full_length_sequences(made, SEQ_LEN, [PositionSet.parse(text) for text in POSITIONS])[:n]


def mid_depth(model: LanguageModel, positions: tuple[str, ...] = POSITIONS) -> ResidualEdits:
    """All interventions half way up, with an operator near the identity."""
    d, target = model.d_model, model.n_layers // 2
    matrix = np.eye(d) + np.random.default_rng(0).normal(0, 0.1 / d**0.5, (d, d))
    operator = TransportOperator(matrix, np.full(d, 0.1), "ridge", target - 2, target, y_mean=np.zeros(d))
    return ResidualEdits(target, {target - 2: operator}, [PositionSet.parse(text) for text in positions])


def one_at_a_time(model: LanguageModel, plan: ResidualEdits, sequences: list[Sequence]) -> dict[Edit, np.ndarray]:
    """Mean losses [n]: a hooked pass of the whole model for each edit, the unedited model once a set of positions."""
    runs: list[tuple[Edit, ResidualEdits | None]] = [
        (edit, ResidualEdits(plan.layer, plan.operators, [PositionSet.parse(edit.positions)], [edit.intervention]))
        for edit in plan.names
    ]
    runs += [(NO_EDIT, None)] * (len(runs) // len(INTERVENTIONS))
    losses: dict[Edit, list[float]] = {edit: [] for edit, _ in runs}
    for sequence in sequences:
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


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def difference(name: str) -> float:
    """Largest difference of a sequence's mean loss in float32, between the two ways."""
    model = load_model(name, dtype="float32")
    plan, sequences = mid_depth(model, ("10,50,70,100,120", "all")), held_out_text(model, 1)
    ours, theirs = causal_losses(model, [plan], sequences).with_unedited(0), one_at_a_time(model, plan, sequences)
    return max(float(np.abs(ours[edit].log_ppl - theirs[edit]).max()) for edit in theirs)


def compare(quick: bool, name: str = MODEL) -> dict[str, Any]:
    """Seconds of both ways on the same sequences, and the largest difference of a loss."""
    model = load_model(name)
    positions, n, rounds = (POSITIONS[:3], 1, 1) if quick else (POSITIONS, 4, 3)
    plan, sequences = mid_depth(model, positions), held_out_text(model, n)
    first = mid_depth(model, POSITIONS[-1:])
    causal_losses(model, [first], sequences[:1])  # both ways once untimed: the first passes are slower
    one_at_a_time(model, first, sequences[:1])
    times = np.array([
        (seconds(lambda: causal_losses(model, [plan], sequences)), seconds(lambda: one_at_a_time(model, plan, sequences)))
        for _ in range(rounds)
    ])  # fmt: skip
    ours, peer = np.median(times, axis=0)
    return {
        "label": f"causal perplexity, {len(INTERVENTIONS) + 1} interventions at layer {plan.layer} of {model.n_layers}, "
        f"{len(positions)} position sets, {len(sequences)} sequences, {str(model.dtype).removeprefix('torch.')}",
        "ours_s": float(ours), "peer_s": float(peer), "ratio": float(np.median(times[:, 1] / times[:, 0])),
        "target": TARGET, "difference": difference(name),
    }  # fmt: skip


def main() -> int:
    """Run the comparison; exit status 1 when a loss differs by more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three position sets, one sequence, one round")
    parser.add_argument("--model", default=MODEL)
    arguments = parser.parse_args()
    found = compare(arguments.quick, arguments.model)
    print(found["label"])
    print(f"  ours {found['ours_s']:.2f} s, KL included; the study's way {found['peer_s']:.2f} s: "
          f"{found['ratio']:.1f}x (aim {found['target']:g}x)")  # fmt: skip
    print(f"  largest difference of a sequence's mean loss in float32: {found['difference']:.1e} nats")
    return int(found["difference"] > LARGEST_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
