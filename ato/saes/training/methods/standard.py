"""Standard: a ReLU with an L1 penalty (Bricken et al., 2023, "Towards monosemanticity")."""

from ato.saes.training.interface import Trainer, TrainingStart
from ato.saes.training.lens import PenaltyTrainer
from ato.saes.training.methods.method import TrainingMethod, register


@register
class Standard(TrainingMethod):
    """``PenaltyTrainer``: activations times the lengths of their decoder rows are penalised, so that rows do not grow instead."""

    name = architecture = "standard"
    options = frozenset({"l1_coefficient"})

    def trainer(self, start: TrainingStart) -> Trainer:
        from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig

        return PenaltyTrainer(start, lambda settings: StandardTrainingSAE(StandardTrainingSAEConfig(**settings)))
