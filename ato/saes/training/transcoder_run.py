"""The training of one transcoder within a pass, and the pairs that it is trained on."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ato.errors import NonFiniteError
from ato.residuals.site_pairs import SitePairs, split_pairs
from ato.saes.training.calibration import ROWS as CALIBRATION_ROWS
from ato.saes.training.calibration import with_mean_l0
from ato.saes.training.plan import LogRow
from ato.saes.training.run import figures
from ato.saes.training.shuffle_buffer import ShuffleBuffer
from ato.saes.training.transcoder_plan import TRAINABLE_TRANSCODERS, TranscoderPlan
from ato.saes.transcoder import Transcoder

_NORM_ROWS = 4096


class TranscoderInputs:
    """Shuffled pairs of one layer, both halves brought to mean 0 and a mean norm of sqrt(d).

    Means and scales are estimated on the first filling of the shuffle buffer.

    Raises:
        CorpusError: the source has no train tokens.
        NonFiniteError: a value is NaN or infinite.
    """

    def __init__(
        self, source: SitePairs | Any, layer: int, *, rows: int, batch_size: int, seed: int, device: torch.device
    ):
        self.buffer = ShuffleBuffer(source, layer, rows=rows, batch_size=batch_size, seed=seed, device=device)
        self.batch_size, pairs = batch_size, self.buffer.rows
        self.d_in: int = source.d_in
        self.d_out = pairs.shape[1] - self.d_in
        self._mean = pairs.mean(0)
        self.mean_x, self.mean_y = (part[0] for part in split_pairs(self._mean.cpu()[None], self.d_in))
        self.scale_x, self.scale_y = (
            math.sqrt(width) / max(torch.cat([half.norm(dim=1) for half in halves]).mean().item(), 1e-12)
            for width, halves in zip(
                (self.d_in, self.d_out),
                zip(*(split_pairs(part - self._mean, self.d_in) for part in pairs.split(_NORM_ROWS)), strict=True),
                strict=True,
            )
        )
        self._scale = torch.cat(
            [self._mean.new_full((self.d_in,), self.scale_x), self._mean.new_full((self.d_out,), self.scale_y)]
        )
        drawn = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))[:CALIBRATION_ROWS]
        self.calibration_rows = split_pairs(pairs[drawn.to(device)], self.d_in)[0]
        """[m, d_in] raw x of train tokens, drawn from the first filling of the buffer."""

    def batches(self, after: int = 0) -> Iterator[Tensor]:
        """Normalised pairs [batch_size, d_in + d_out] without end, see ``ShuffleBuffer.batches``."""
        return ((batch - self._mean).mul_(self._scale) for batch in self.buffer.batches(after))

    def close(self) -> None:
        """Stop reading the source."""
        self.buffer.close()


class TranscoderRun:
    """The training of one transcoder.

    Args:
        plan: what is trained.
        inputs: that it is trained on.
        n_steps: steps.
        precision: of the dense products.
        where: place and transcoder, for messages.
    """

    def __init__(
        self, plan: TranscoderPlan, inputs: TranscoderInputs, n_steps: int, precision: torch.dtype, where: str
    ):
        self._plan, self._inputs, self._where = plan, inputs, where
        self._schedule = plan.schedule(n_steps, inputs.batch_size)
        device = inputs.calibration_rows.device
        self._trainer = plan.trainer(inputs.d_in, inputs.d_out, self._schedule, precision, device)
        self._n_done = 0
        self.log: list[LogRow] = []

    @property
    def over(self) -> bool:
        """Whether it takes no more steps."""
        return self._n_done >= self._schedule.n_steps

    @property
    def n_tokens(self) -> int:
        """Tokens trained on."""
        return self._n_done * self._inputs.batch_size

    def step(self, batch: Tensor, log_every: int) -> LogRow | None:
        """Take a step on pairs; the row of the log, where one is due.

        Raises:
            NonFiniteError: the training diverged.
        """
        output = self._trainer.step(batch)
        self._n_done += 1
        step = self._n_done
        if step % log_every and step not in (1, self._schedule.n_steps):
            return None
        row: LogRow = {"architecture": self._plan.architecture, "step": step, "tokens": self.n_tokens}
        row |= figures(output) | {"dead_share": float(self._trainer.dead_neurons.double().mean())}
        self._check_finite(float(row["mse"]))
        row |= {"lr": self._schedule.lr_after(step - 1), "n_resampled": 0, "fvu_held_out": None}
        self.log.append(row)
        return row

    @torch.no_grad()
    def sae(self, metadata: Mapping[str, Any]) -> Transcoder:
        """The transcoder of raw values, decoder rows brought to length 1, thresholds to k active features in the mean.

        Raises:
            NonFiniteError: a weight is NaN or infinite.
        """
        inputs, plan = self._inputs, self._plan
        weights = {name: weight.detach().float().cpu() for name, weight in self._trainer.weights().items()}
        for weight in weights.values():
            self._check_finite(float(weight.sum()))
        norms = weights["W_dec"].norm(dim=1).clamp_min(1e-12)
        W_enc = weights["W_enc"] * inputs.scale_x
        skip, b_dec = None, weights["b_dec"]
        if "W_skip" in weights:
            skip = weights["W_skip"] * (inputs.scale_x / inputs.scale_y)
            b_dec = b_dec - inputs.mean_x @ weights["W_skip"] * inputs.scale_x
        architecture = TRAINABLE_TRANSCODERS[plan.architecture]
        threshold = weights["threshold"].clamp_min(0) * norms / inputs.scale_y if architecture == "jumprelu" else None
        folded = Transcoder(
            architecture,
            W_enc=(W_enc * (norms / inputs.scale_y)).contiguous(),
            b_enc=(weights["b_enc"] - inputs.mean_x @ W_enc) * norms / inputs.scale_y,
            W_dec=weights["W_dec"] / norms[:, None],
            b_dec=inputs.mean_y + b_dec / inputs.scale_y,
            W_skip=skip,
            threshold=threshold,
            k=plan.k if architecture == "topk" else None,
            metadata={**metadata, **({} if architecture == plan.architecture else {"trained_as": plan.architecture})},
        )
        return folded if threshold is None else with_mean_l0(folded, inputs.calibration_rows, plan.k)

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on.

        Raises:
            NonFiniteError: a weight is NaN or infinite, so that nobody should go on from it.
        """
        for weight in self._trainer.weights().values():
            self._check_finite(float(weight.detach().sum()))
        return {"run.n_done": torch.tensor(self._n_done), **self._trainer.state()}

    def restore(self, state: Mapping[str, Tensor], log: list[LogRow]) -> None:
        """Go on where ``state`` was taken."""
        self._n_done, self.log = int(state["run.n_done"]), log
        self._trainer.restore(state)

    def _check_finite(self, value: float) -> None:
        if not math.isfinite(value):
            what = f"transcoder training diverged at step {self._n_done}"
            raise NonFiniteError(what, where=self._where, cure=f"set a smaller lr than {self._plan.lr:g}")
