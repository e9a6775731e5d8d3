"""Training sparse autoencoders with sae-lens on a stream of residuals, in bounded memory."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ato.errors import NonFiniteError, SettingsError
from ato.residuals import ResidualSource
from ato.saes import SparseAutoencoder
from ato.shuffle_buffer import ShuffleBuffer

DEAD_AFTER = 20_000
"""Tokens without activation after which a feature counts as dead and the auxiliary loss revives it."""

_CALIBRATION_ROWS = 512
_JUMPRELU: dict[str, Any] = {
    # Inputs have norm sqrt(d_in), so that with decoder rows of length 1 pre-activations start with variance 1, and the
    # bandwidth is that of their spread. Without gradients to the encoder L0 ends far from its target, or features die.
    "decoder_init_norm": 1.0,
    "jumprelu_bandwidth": 2.0,
    "jumprelu_ste_to_input": True,
    "jumprelu_sparsity_loss_mode": "quadratic",
    "l0_coefficient": 3.0,
}

LogRow = dict[str, float | int | str]


@dataclass(frozen=True)
class TrainedSAE:
    """A trained SAE and the log of its training."""

    sae: SparseAutoencoder
    """Takes raw residuals; decoder rows have length 1, so that activations are in units of the residual stream."""
    log: list[LogRow]
    """Rows of the table ``sae_training`` without its keys ``collection`` and ``sae``."""
    n_tokens: int
    """Tokens trained on, repeats included."""
    n_epochs: float
    """Passes over the train split; NaN if it did not fit in the shuffle buffer and was not read to its end."""


def train_sae(
    source: ResidualSource,
    layer: int,
    *,
    architecture: Literal["topk", "jumprelu"] = "topk",
    d_sae: int = 2048,
    k: int = 32,
    n_tokens: int = 600_000,
    batch_size: int = 1024,
    lr: float = 3e-3,
    seed: int = 0,
    buffer_rows: int = 131_072,
    device: str = "cpu",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    log_every: int = 50,
    metadata: Mapping[str, Any] | None = None,
    on_step: Callable[[LogRow], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainedSAE:
    """Train an SAE on the train split of a source with sae-lens.

    Residuals are centred by their mean and scaled to a mean norm of sqrt(d_in), both estimated on the first filling
    of the shuffle buffer; the SAE starts with a decoder bias equal to that mean. Both are folded into the weights in
    the end. The learning rate rises over the first 5 % of the steps and falls to 0 over the last 30 %. Equal
    arguments on equal residuals give equal weights on one machine, and the global random state is left alone.

    Args:
        source: residuals; only the train split is read, again for each epoch unless it fits the buffer.
        layer: layer to train on.
        architecture: topk keeps k features a token; jumprelu learns a threshold a feature, with a penalty that
            draws the mean number of active features to k.
        d_sae: number of features.
        k: active features a token.
        n_tokens: tokens to train on, repeats included.
        batch_size: tokens a step.
        lr: peak learning rate of Adam.
        seed: of the initial weights and the order of tokens.
        buffer_rows: tokens in the shuffle buffer: the memory is buffer_rows x d_in x 4 bytes.
        device: where to train.
        precision: of the matrix products; auto takes bfloat16 where the processor multiplies it natively (about
            three times as fast, and no worse in variance explained), else float32. The weights are float32.
        log_every: steps between two rows of the log.
        metadata: kept with the SAE, for example ``model_name``.
        on_step: called with each row of the log.
        on_progress: called after each step with tokens done and tokens to do.

    Raises:
        SettingsError: settings that contradict each other.
        CorpusError: no train residuals.
        NonFiniteError: residuals with NaN, or a training that diverged.
    """
    _check(architecture, d_sae=d_sae, k=k, n_tokens=n_tokens, batch_size=batch_size, log_every=log_every)
    buffer = ShuffleBuffer(source, layer, rows=buffer_rows, batch_size=batch_size, seed=seed)
    mean = buffer.rows.mean(0)
    scale = math.sqrt(len(mean)) / max((buffer.rows - mean).norm(dim=1).mean().item(), 1e-12)
    n_steps = max(1, n_tokens // batch_size)
    batches = ((batch.to(device) - mean.to(device)).mul_(scale) for batch in buffer.batches())
    with contextlib.closing(buffer), _quiet_rng(seed):
        sae = _new_sae(architecture, (buffer.rows[:_CALIBRATION_ROWS] - mean) * scale, d_sae, k, device, seed)
        bfloat16 = precision == "bfloat16" or (precision == "auto" and multiplies_bfloat16(device))
        trainer = _new_trainer(sae, batches, n_steps, batch_size, lr, device, bfloat16)
        log = []
        for step in range(1, n_steps + 1):
            lr_now = trainer.optimizer.param_groups[0]["lr"]
            output = trainer.step(next(batches))
            trainer.n_training_steps += 1
            if step % log_every == 0 or step in (1, n_steps):
                log.append({"architecture": architecture, "step": step, **_measure(output, trainer), "lr": lr_now})
                _check_finite(log[-1], layer)
                if on_step is not None:
                    on_step(log[-1])
            if on_progress is not None:
                on_progress(step * batch_size, n_steps * batch_size)
    record = {"hook_name": f"blocks.{layer}.hook_resid_post", **(metadata or {})}
    n_seen = n_steps * batch_size
    epochs = n_seen / len(buffer.rows) if buffer.holds_all else float(buffer.epochs or math.nan)
    return TrainedSAE(_fold(architecture, sae, k, mean, scale, record), log, n_seen, epochs)


def multiplies_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 natively; emulated, it is slower than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(native is not None and native())


def _check(architecture: str, *, d_sae: int, k: int, **positive: int) -> None:
    if architecture not in ("topk", "jumprelu"):
        raise SettingsError(f"an SAE of architecture {architecture!r} cannot be trained", cure="use topk or jumprelu")
    if not 0 < k <= d_sae:
        raise SettingsError(f"k = {k} is not between 1 and d_sae = {d_sae}", cure="choose a smaller k")
    for name, value in positive.items():
        if value < 1:
            raise SettingsError(f"{name} = {value} is not positive")


def _check_finite(row: LogRow, layer: int) -> None:
    if not math.isfinite(float(row["mse"])):
        raise NonFiniteError(
            f"SAE training diverged at step {row['step']}", where=f"layer {layer}", cure="set a smaller lr"
        )


@contextlib.contextmanager
def _quiet_rng(seed: int) -> Iterator[None]:
    """sae-lens draws initial weights from the global generators: leave their state as it was."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _new_sae(architecture: str, z: torch.Tensor, d_sae: int, k: int, device: str, seed: int) -> Any:
    """A sae-lens training SAE for inputs like z [n, d_in], of mean 0 and norm sqrt(d_in)."""
    from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig

    shape: dict[str, Any] = {"d_in": z.shape[1], "d_sae": d_sae, "device": device}
    if architecture == "topk":
        sae: Any = TopKTrainingSAE(TopKTrainingSAEConfig(**shape, k=k))
    else:
        sae = JumpReLUTrainingSAE(JumpReLUTrainingSAEConfig(**shape, **_JUMPRELU, target_l0=float(k)))
    # Drawn again from a generator of our own: the global one may be shared with another thread's training.
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(d_sae, z.shape[1], generator=generator), dim=1)
    with torch.no_grad():
        sae.W_dec.copy_(sae.W_dec.norm(dim=1, keepdim=True).mean() * directions)
        sae.W_enc.copy_(sae.W_dec.T)
        if architecture == "jumprelu":
            # Adam moves a threshold by lr a step at most: it has to start where k features are active.
            pre = z.to(device) @ sae.W_enc
            sae.threshold.fill_(pre.flatten().topk(len(z) * k).values[-1].clamp_min(0).item())
    return sae


def _new_trainer(
    sae: Any, batches: Iterator[torch.Tensor], n_steps: int, batch_size: int, lr: float, device: str, bfloat16: bool
) -> Any:
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    warm_up = n_steps // 20
    config = SAETrainerConfig(
        total_training_samples=n_steps * batch_size,
        train_batch_size_samples=batch_size,
        lr=lr,
        lr_end=lr / 10,  # None, the default, fails an assertion
        lr_warm_up_steps=warm_up,
        lr_decay_steps=min(3 * n_steps // 10, n_steps - warm_up - 1),
        dead_feature_window=max(1, DEAD_AFTER // batch_size),
        device=device,
        autocast=bfloat16,
    )
    return SAETrainer(cfg=config, sae=sae, data_provider=batches)


@torch.no_grad()
def _measure(output: Any, trainer: Any) -> dict[str, float | int]:
    """Figures of the batch just trained on, in normalised units."""
    x = output.sae_in.float()
    mse = (output.sae_out.float() - x).square().sum(1).mean().item()
    return {
        "tokens": trainer.n_training_samples,
        "mse": mse,
        "fvu": mse / max((x - x.mean(0)).square().sum(1).mean().item(), 1e-12),
        "l0": (output.feature_acts > 0).sum(1).double().mean().item(),
        "dead_share": trainer.dead_neurons.double().mean().item(),
    }


@torch.no_grad()
def _fold(
    architecture: str, trained: Any, k: int, mean: torch.Tensor, scale: float, metadata: dict[str, Any]
) -> SparseAutoencoder:
    """The trained SAE on raw residuals: with z = (x - mean) scale, decoder rows brought to length 1.

    a = (z - b_dec) W_enc + b_enc times the decoder norm (so topk chooses, in training too), divided by the scale.
    """
    weights = {name: getattr(trained, name).detach().float().cpu() for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    norms = weights["W_dec"].norm(dim=1).clamp_min(1e-12)
    threshold = None
    if architecture == "jumprelu":
        threshold = trained.threshold.detach().float().cpu().clamp_min(0) * norms / scale
    return SparseAutoencoder(
        architecture,
        W_enc=(weights["W_enc"] * norms).contiguous(),
        b_enc=weights["b_enc"] * norms / scale,
        W_dec=weights["W_dec"] / norms[:, None],
        b_dec=mean + weights["b_dec"] / scale,
        threshold=threshold,
        k=k if architecture == "topk" else None,
        scaling=scale,
        metadata=metadata,
    )
