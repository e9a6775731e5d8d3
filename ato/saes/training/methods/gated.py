"""Gated: a gate is penalised, not the size of what it lets through (Rajamanoharan et al., 2024, arXiv 2404.16014)."""

from torch import Tensor

from ato.saes.architectures import find_architecture
from ato.saes.training.interface import Trainer, TrainingStart
from ato.saes.training.lens import PenaltyTrainer
from ato.saes.training.methods.method import TrainingMethod, register


class GatedTrainer(PenaltyTrainer):
    """``PenaltyTrainer`` of an SAE with gates."""

    def __init__(self, start: TrainingStart):
        from sae_lens.saes.gated_sae import GatedTrainingSAE, GatedTrainingSAEConfig

        super().__init__(start, lambda settings: GatedTrainingSAE(GatedTrainingSAEConfig(**settings)))

    def weights(self) -> dict[str, Tensor]:
        """The weights in the common form, see ``Trainer``."""
        kind = find_architecture("gated")
        return kind.fold({name: getattr(self.sae, name).detach() for name in kind.file_keys})


@register
class Gated(TrainingMethod):
    """``GatedTrainer``."""

    name = architecture = "gated"
    options = frozenset({"l1_coefficient"})

    def trainer(self, start: TrainingStart) -> Trainer:
        return GatedTrainer(start)
