"""TopK: k features are active on each token (Gao et al., 2024, "Scaling and evaluating sparse autoencoders")."""

from ato.saes.training.choices import PerToken
from ato.saes.training.interface import Trainer, TrainingStart
from ato.saes.training.methods.method import SparseMethod, register
from ato.saes.training.sparse import FIRST_NORM, SparseTrainer


@register
class TopK(SparseMethod):
    """``SparseTrainer`` with the k largest of each token."""

    name = architecture = "topk"

    def trainer(self, start: TrainingStart) -> Trainer:
        return SparseTrainer(FIRST_NORM * start.directions, PerToken(start.k), start.schedule, start.precision)
