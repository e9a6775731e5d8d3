"""Mean Jacobians of SmolLM2's shape between two layers: many tokens in one backward pass, against PyTorch's token by token.

``torch.func.jacrev`` is given one token's stream of a whole sequence, all rows at once; both must agree. The second
reference asks one output coordinate of one token in a backward pass through the sequence.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ato.jacobians import ProbePlan, document_jacobians
from ato.models.language_model import LanguageModel
from benchmarks.graphs import SHAPE
from benchmarks.measurement import Measurement, plain, speedup
from benchmarks.program import run
from benchmarks.shaped_model import SMALL, shaped_model
from benchmarks.timing import seconds, side_by_side

LARGEST_DIFFERENCE = 1e-4
"""Of an entry, relative to the largest."""


def jacobians_benchmark(quick: bool) -> Iterator[Measurement]:
    """Seconds of all rows of a token's Jacobian."""
    model, length = loaded(quick), 16 if quick else 128
    pair, probes, tokens = (1, 3) if quick else (8, 12), 4 if quick else 16, 1 if quick else 2
    position = np.arange(1, length)
    agree(model, pair, length)
    ours, whole, alone = side_by_side(
        partial(measured, model, pair, length, position, ProbePlan(probes)),
        partial(by_jacrev, model, pair, length, range(1, 1 + tokens)),
        partial(by_rows, model, pair, length, probes),
        rounds=1 if quick else 3,
    )
    d = model.d_model
    per_token = ours / len(position) * d / probes
    figure = f"all {d} rows of a token's Jacobian {pair[0]} -> {pair[1]}, sequences of {length} tokens"
    yield speedup(figure, per_token, f"torch.func.jacrev token by token ({tokens})", whole / tokens)
    yield speedup(figure, per_token, f"a backward pass a row and token ({probes} rows)", alone * d / probes)
    yield plain("rows of token Jacobians per second", "1/s", len(position) * probes / ours)
    later, _ = seconds(partial(measured, model, pair, length, position, ProbePlan(probes, "later")))
    yield plain("the same, summed over later positions", "1/s", len(position) * probes / later)


@cache
def loaded(quick: bool) -> LanguageModel:
    """A random model."""
    return shaped_model(SMALL if quick else SHAPE, device="cpu", dtype="float32")


def text(length: int) -> tuple[Tensor, Tensor]:
    """A sequence of random bytes, with its length."""
    ids = np.random.default_rng(0).integers(3, 259, size=length)
    return torch.from_numpy(ids)[None], torch.tensor([length])


def measured(
    model: LanguageModel, pair: tuple[int, int], length: int, position: np.ndarray, plan: ProbePlan
) -> np.ndarray:
    """Sum of the rows that the plan asks for over these tokens."""
    zero = np.zeros(len(position), dtype=np.int64)
    found: np.ndarray = document_jacobians(model, text(length), (zero, zero, position), [pair], plan)[pair].rows
    return found


def stream_and_run(
    model: LanguageModel, pair: tuple[int, int], length: int
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The stream [1, t, d] at the source, and the function from it to that at the target."""
    ids, lengths = text(length)
    stream = model.residuals(ids, lengths, [pair[0]])[pair[0]].clone()

    def to_target(x: Tensor) -> Tensor:
        options: dict[str, Any] = {"start": (pair[0], x), "stop": pair[1], "read": [pair[1]], "gradients": True}
        return model.run_padded(ids, lengths, **options).residuals[pair[1]]

    return stream, to_target


def by_jacrev(model: LanguageModel, pair: tuple[int, int], length: int, positions: range) -> list[Tensor]:
    """The whole Jacobian [d, d] of each of these tokens."""
    stream, to_target = stream_and_run(model, pair, length)

    def of_token(x: Tensor, position: int) -> Tensor:
        whole = torch.cat([stream[:, :position], x[None, None], stream[:, position + 1 :]], dim=1)
        return to_target(whole)[0, position]

    return [torch.func.jacrev(partial(of_token, position=p))(stream[0, p]) for p in positions]


def by_rows(model: LanguageModel, pair: tuple[int, int], length: int, rows: int) -> Tensor:
    """Some rows of the Jacobian of the last token, one after the other."""
    stream, to_target = stream_and_run(model, pair, length)
    x = stream.requires_grad_()
    y = to_target(x)[0, -1]
    return torch.stack([torch.autograd.grad(y[i], x, retain_graph=True)[0][0, -1] for i in range(rows)])


def agree(model: LanguageModel, pair: tuple[int, int], length: int) -> None:
    """Refuse Jacobians that differ from PyTorch's."""
    own = measured(model, pair, length, np.array([length - 1]), ProbePlan())
    (expected,) = by_jacrev(model, pair, length, range(length - 1, length))
    gap = np.abs(own - expected.numpy()).max() / float(expected.abs().max())
    assert gap <= LARGEST_DIFFERENCE, f"Jacobians differ by {gap:.1e}"


if __name__ == "__main__":
    sys.exit(run("jacobians", jacobians_benchmark, __doc__))
