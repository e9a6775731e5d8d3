"""A llama whose blocks are planted, and the documents that its Jacobians are taken over."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ato.jacobians import JacobianSums, ProbePlan, document_jacobians
from ato.models import LanguageModel, load_model, pad
from tests.tiny_models import plant_linear_blocks, save_tiny_model

WIDTH, LAYERS, LENGTH = 16, 4, 10


class TanhBlock(torch.nn.Module):
    """x -> x + W tanh(x): its Jacobian is I + W diag(1 - tanh(x)^2)."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, hidden_states: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        return hidden_states + torch.tanh(hidden_states) @ self.weight.to(hidden_states.dtype).T


def weights(seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [0.3 * rng.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH) for _ in range(LAYERS)]


def tiny(folder: Path, family: str = "llama") -> LanguageModel:
    """A random model of a family."""
    return load_model(save_tiny_model(folder, family, n_layers=LAYERS, d_model=WIDTH), device="cpu", dtype="float32")


def linear(folder: Path) -> tuple[LanguageModel, list[np.ndarray]]:
    model, matrices = tiny(folder), weights()
    plant_linear_blocks(model.blocks, matrices)
    return model, matrices


def non_linear(folder: Path) -> tuple[LanguageModel, list[np.ndarray]]:
    model, matrices = tiny(folder), weights()
    for i, matrix in enumerate(matrices):
        model.blocks[i] = TanhBlock(torch.as_tensor(matrix, dtype=torch.float32))
    return model, matrices


def documents(n: int, seed: int = 0) -> list[list[np.ndarray]]:
    """Documents of one to three sequences of random bytes, some of them short."""
    rng = np.random.default_rng(seed)
    return [
        [rng.integers(3, 259, int(rng.integers(LENGTH // 2, LENGTH + 1))) for _ in range(1 + i % 3)] for i in range(n)
    ]


def kept_tokens(document: Sequence[np.ndarray], first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All tokens but position 0 and every fifth: row, number of the sequence, position."""
    row = np.concatenate([np.full(len(ids), i) for i, ids in enumerate(document)])
    position = np.concatenate([np.arange(len(ids)) for ids in document])
    keep = (position > 0) & (position % 5 != 4)
    return row[keep], first + row[keep], position[keep]


def sums_of(
    model: LanguageModel, texts: Sequence[Sequence[np.ndarray]], pairs: Sequence[tuple[int, int]], plan: ProbePlan
) -> dict[tuple[int, int], JacobianSums]:
    """The sums over documents, as a study makes them."""
    found = {pair: JacobianSums.empty(WIDTH, WIDTH) for pair in pairs}
    for number, document in enumerate(texts):
        kept = kept_tokens(document, 10 * number)
        for pair, one in document_jacobians(model, pad(document), kept, pairs, plan).items():
            found[pair].update(one.rows, one.count, len(kept[0]))
    return found
