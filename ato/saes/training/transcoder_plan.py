"""What is to be trained: the settings of one transcoder."""

from dataclasses import dataclass

import torch

from ato.errors import SettingsError
from ato.saes.training.choices import PerBatch, PerToken
from ato.saes.training.plan import TrainingPlan
from ato.saes.training.schedule import Schedule
from ato.saes.training.sparse import FIRST_NORM
from ato.saes.training.transcoder_steps import TranscoderTrainer

TRAINABLE_TRANSCODERS = {"topk": "topk", "batchtopk": "jumprelu"}
"""Architecture as settings have it -> that of the trained transcoder."""


@dataclass(frozen=True)
class TranscoderPlan(TrainingPlan):
    """One transcoder to train: learning rate, schedule and dead features as of an SAE.

    Raises:
        SettingsError: settings that contradict each other, or that transcoders have not: resampling and early stopping.
    """

    skip: bool = False
    """Whether x also goes to y by a matrix."""

    def __post_init__(self) -> None:
        if self.architecture not in TRAINABLE_TRANSCODERS:
            cure = f"use {' or '.join(TRAINABLE_TRANSCODERS)}"
            raise SettingsError(f"a transcoder of architecture {self.architecture!r} cannot be trained", cure=cure)
        if self.dead_features == "resample":
            cure = "use auxiliary or none"
            raise SettingsError("dead features of transcoders are not resampled", where="dead_features", cure=cure)
        if self.held_out_every is not None:
            cure = "leave held_out_every out"
            raise SettingsError("the training of transcoders is not stopped early", where="held_out_every", cure=cure)
        super().__post_init__()

    @property
    def label(self) -> str:
        """In words, for messages."""
        return f"{'skip ' if self.skip else ''}transcoder, {super().label}"

    def trainer(
        self, d_in: int, d_out: int, schedule: Schedule, precision: torch.dtype, device: object
    ) -> TranscoderTrainer:
        """With random encoder and decoder rows of length ``FIRST_NORM``, the same on every device."""
        generator = torch.Generator().manual_seed(self.seed)
        encoder, decoder = (
            FIRST_NORM * torch.nn.functional.normalize(torch.randn(self.d_sae, d, generator=generator), dim=1)
            for d in (d_in, d_out)
        )
        choice = PerToken(self.k) if self.architecture == "topk" else PerBatch(self.k)
        to = torch.device(str(device))
        return TranscoderTrainer(encoder.to(to), decoder.to(to), choice, schedule, precision, skip=self.skip)
