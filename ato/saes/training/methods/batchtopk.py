"""BatchTopK: k features are active in the mean over a batch (Bussmann et al., 2024, "BatchTopK sparse autoencoders")."""

from ato.saes.training.choices import PerBatch
from ato.saes.training.interface import Trainer, TrainingStart
from ato.saes.training.methods.method import SparseMethod, register
from ato.saes.training.sparse import FIRST_NORM, SparseTrainer


@register
class BatchTopK(SparseMethod):
    """``SparseTrainer`` with the largest of a batch; the trained SAE has a threshold in their place."""

    name = "batchtopk"
    architecture = "jumprelu"
    calibrated = True

    def trainer(self, start: TrainingStart) -> Trainer:
        return SparseTrainer(FIRST_NORM * start.directions, PerBatch(start.k), start.schedule, start.precision)
