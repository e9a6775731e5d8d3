"""Matryoshka BatchTopK: the first features alone rebuild the residual too (Bussmann et al., 2025, arXiv 2503.17547)."""

from ato.saes.training.choices import PerBatch
from ato.saes.training.interface import Trainer, TrainingStart
from ato.saes.training.methods.method import SparseMethod, register
from ato.saes.training.sparse import FIRST_NORM, SparseTrainer

LEVELS = 5
"""Nested dictionaries: a sixteenth, an eighth, a quarter and half of the features, and all of them."""


def widths_of(d_sae: int) -> list[int]:
    """Features of each nested dictionary, ascending; fewer levels where they would be empty or equal."""
    return sorted({d_sae >> level for level in range(LEVELS)} - {0})


@register
class MatryoshkaBatchTopK(SparseMethod):
    """``SparseTrainer`` with the largest of a batch and a squared error for each nested dictionary."""

    name = "matryoshka_batchtopk"
    architecture = "jumprelu"
    calibrated = True
    options = frozenset({"widths"})

    def trainer(self, start: TrainingStart) -> Trainer:
        widths = start.widths or widths_of(len(start.directions))
        directions = FIRST_NORM * start.directions
        return SparseTrainer(directions, PerBatch(start.k), start.schedule, start.precision, widths)
