"""Training of transcoder adapters with the whole model in the loop."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ato.errors import CorpusError, MismatchError, NonFiniteError, SettingsError
from ato.models.forward import stream_of
from ato.models.language_model import LanguageModel, pad
from ato.saes.adapter import TranscoderAdapter, adapted, check_fit, new_adapter
from ato.saes.training.checkpoints import Checkpoint, read_checkpoint
from ato.saes.training.optimizer_state import optimizer_state, restore_optimizer
from ato.text.sequences import TokenSequence

_LARGEST_GRADIENT = 1.0
_WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""

LogRow = dict[str, float | int | str]


@dataclass(frozen=True)
class AdapterPlan:
    """What an adapter is and how it is trained; the defaults are the published ones.

    Raises:
        SettingsError: a number that cannot be.
    """

    n_features: int = 8192
    dec_bias: bool = True
    """Whether decoders have a bias."""
    lambda_kl: float = 1.0
    """Weight of KL(fine-tuned || adapted) per token."""
    l1: float = 1e-3
    """Weight of the sum over layers of the mean over tokens of sum_f a_f |W_dec_f|."""
    lambda_nmse: float = 1.0
    """Weight of the normalised squared error of the residual stream, meaned over embedding and layers."""
    lambda_bridge: float = 2.0
    """Weight of KL(fine-tuned || mixed), the mean of the two mixed models at a cut."""
    cuts: int = 1
    """Cuts drawn a step, uniform in 0 ... layers."""
    lr: float = 8e-4
    """Peak learning rate of AdamW, without decay; cosine after a warm-up over 5 % of the steps."""
    epochs: int = 1
    batch_size: int = 1
    """Sequences a step."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_features", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} = {getattr(self, name)} must be positive")
        for name in ("lambda_kl", "l1", "lambda_nmse", "lambda_bridge", "lr", "cuts"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"{name} = {getattr(self, name)} must be a number from 0")

    def lr_after(self, done: int, n_steps: int) -> float:
        """Learning rate of the step after ``done`` of ``n_steps``."""
        warm_up = math.ceil(_WARM_UP * n_steps)
        if done < warm_up:
            return self.lr * (done + 1) / warm_up
        return self.lr * 0.5 * (1 + math.cos(math.pi * (done - warm_up) / max(1, n_steps - warm_up)))


@dataclass(frozen=True)
class TrainedAdapter:
    """A trained adapter and the log of its training."""

    adapter: TranscoderAdapter
    log: list[LogRow]
    """``step``, ``loss``, its parts before their weights (``kl``, ``l1``, ``nmse``, ``bridge``), ``l0``, ``lr``."""


def train_adapter(
    tuned: LanguageModel,
    base: LanguageModel,
    sequences: Sequence[TokenSequence],
    plan: AdapterPlan,
    *,
    layers: Sequence[int] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 50,
    on_step: Callable[[LogRow], None] | None = None,
) -> TrainedAdapter:
    """Train an adapter so that the fine-tuned model with the base model's MLPs does what the fine-tuned one does.

    Only adapter weights change. Padding enters no loss and no statistic. Equal arguments give equal weights.

    Args:
        tuned: the fine-tuned model: reference, and backbone (attention, norms, embeddings).
        base: the model that it was made from, whose MLPs are used.
        sequences: of text to train on; each has at least two tokens.
        plan: the losses and their weights.
        layers: that have an adapter and the base model's MLP; default all.
        checkpoint: file from which a stopped training goes on, to the same bits.
        checkpoint_every: steps between two of them.
        on_step: called with each row of the log.

    Raises:
        CorpusError: no sequences of two tokens.
        MismatchError: models of other shapes.
        NonFiniteError: the training diverged.
        SettingsError: a checkpoint of another training.
    """
    chosen = range(tuned.n_layers) if layers is None else layers
    texts = [s for s in sequences if len(s.token_ids) > 1]
    if not texts:
        raise CorpusError("no sequence of at least two tokens", cure="give text to train on")
    adapter = _trainable(
        new_adapter(chosen, tuned.d_model, plan.n_features, dec_bias=plan.dec_bias, seed=plan.seed), tuned
    )
    check_models(tuned, base, adapter)
    parameters = adapter.parameters
    optimizer = torch.optim.AdamW(parameters, lr=plan.lr, weight_decay=0.0)
    order = np.random.default_rng(plan.seed)
    batches = [
        rows
        for _ in range(plan.epochs)
        for rows in np.array_split(order.permutation(len(texts)), math.ceil(len(texts) / plan.batch_size))
    ]
    settings = {
        "plan": asdict(plan),
        "layers": list(chosen),
        "models": [tuned.identity.weights_hash, base.identity.weights_hash],
        "n_sequences": len(texts),
    }
    found = None if checkpoint is None else read_checkpoint(checkpoint)
    log: list[LogRow] = []
    if found is not None and checkpoint is not None:
        found.check(settings, (), checkpoint)
        restore_optimizer(parameters, optimizer, found.states[0])
        log = found.logs[0]
    for step in range(len(log) if found is not None else 0, len(batches)):
        input_ids, lengths = pad([texts[row].token_ids for row in batches[step]])
        draw = np.random.default_rng([plan.seed, step])
        row = _Step(tuned, base, adapter, input_ids.to(tuned.device), lengths.to(tuned.device)).descend(plan, draw)
        if not math.isfinite(float(row["loss"])):
            raise NonFiniteError(f"adapter training diverged at step {step + 1}", cure="set a smaller lr")
        torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        lr = optimizer.param_groups[0]["lr"] = plan.lr_after(step, len(batches))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        log.append({"step": step + 1} | row | {"lr": lr})
        if checkpoint is not None and ((step + 1) % checkpoint_every == 0 or step + 1 == len(batches)):
            state = [optimizer_state(parameters, optimizer)]
            Checkpoint(step + 1, settings, state, [log], (), torch.get_num_threads()).write(checkpoint)
        if on_step is not None:
            on_step(log[-1])
    return TrainedAdapter(_finished(adapter, plan, tuned, base), log)


def check_models(tuned: LanguageModel, base: LanguageModel, adapter: TranscoderAdapter) -> None:
    """Refuse two models that cannot be mixed, or an adapter of another model."""
    if (tuned.vocabulary_size, tuned.n_layers) != (base.vocabulary_size, base.n_layers):
        what = f"{tuned.identity.model} and {base.identity.model} differ in layers or vocabulary"
        raise MismatchError(what, cure="use the model that the fine-tuned one was made from")
    check_fit(tuned.parts, adapter, base.parts)


def _trainable(adapter: TranscoderAdapter, model: LanguageModel) -> TranscoderAdapter:
    moved = {}
    for layer, one in adapter.layers.items():
        weights = {name: getattr(one, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
        moved[layer] = replace(
            one, **{name: w.to(model.device).requires_grad_() for name, w in weights.items() if w is not None}
        )
    return replace(adapter, layers=moved)


def _finished(
    adapter: TranscoderAdapter, plan: AdapterPlan, tuned: LanguageModel, base: LanguageModel
) -> TranscoderAdapter:
    done = {
        layer: replace(
            one, **{n: w.detach() for n in ("W_enc", "b_enc", "W_dec", "b_dec") if (w := getattr(one, n)) is not None}
        )
        for layer, one in adapter.layers.items()
    }
    origin = {"tuned": tuned.identity.weights_hash, "base": base.identity.weights_hash, "l1": plan.l1}
    return replace(adapter, layers=done, metadata=origin)


class _Step:
    """The losses of one batch."""

    def __init__(
        self, tuned: LanguageModel, base: LanguageModel, adapter: TranscoderAdapter, input_ids: Tensor, lengths: Tensor
    ):
        self._tuned, self._base, self._adapter, self._ids = tuned, base, adapter, input_ids
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        self._real = positions < lengths[:, None]
        with torch.no_grad(), _streams(tuned) as self._reference:
            self._log_p = self._log_probabilities(self._run())
        self._l1: list[Tensor] = []
        self._n_active: list[float] = []

    def descend(self, plan: AdapterPlan, draw: np.random.Generator) -> LogRow:
        """Gradients of the loss; returns its parts."""
        with (
            adapted(self._tuned.parts, self._adapter, self._base.parts, on_features=self._note),
            _streams(self._tuned) as own,
        ):
            kl = self._kl(self._run())
        nmse = torch.stack([_nmse(own[i][self._real], x[self._real]) for i, x in self._reference.items()])
        # The embedding is the fine-tuned model's own: its error is 0, and it counts among the states.
        nmse_mean = nmse.sum() / (len(nmse) + 1)
        l1 = torch.stack(self._l1).sum()
        loss = plan.lambda_kl * kl + plan.l1 * l1 + plan.lambda_nmse * nmse_mean
        loss.backward()
        total, bridge = loss.item(), 0.0
        for cut in draw.integers(0, self._tuned.n_layers + 1, size=plan.cuts) if plan.lambda_bridge else ():
            for layers in (range(cut), range(cut, self._tuned.n_layers)):
                if not set(layers) & set(self._adapter.layers):
                    continue  # the fine-tuned model itself: no divergence, no gradient
                with adapted(self._tuned.parts, self._adapter, self._base.parts, layers=layers):
                    mixed = self._kl(self._run()) / (2 * plan.cuts)
                (plan.lambda_bridge * mixed).backward()  # one pass's activations at a time
                bridge += mixed.item()
        return {
            "loss": total + plan.lambda_bridge * bridge,
            "kl": kl.item(),
            "l1": l1.item(),
            "nmse": nmse_mean.item(),
            "bridge": bridge,
            "l0": float(np.mean(self._n_active)),
        }

    def _run(self) -> Tensor:
        """Hidden states [b, t, d] behind the final norm."""
        mask = None if bool(self._real.all()) else self._real.long()
        return self._tuned.parts.body(input_ids=self._ids, attention_mask=mask, use_cache=False).last_hidden_state

    def _log_probabilities(self, hidden: Tensor) -> Tensor:
        """[real tokens, vocabulary] float32."""
        return self._tuned.parts.logits(hidden[self._real]).float().log_softmax(-1)

    def _kl(self, hidden: Tensor) -> Tensor:
        """KL(fine-tuned || this), the mean over real tokens."""
        log_q = self._log_probabilities(hidden)
        return (self._log_p.exp() * (self._log_p - log_q)).sum(-1).mean()

    def _note(self, layer: int, features: Tensor) -> None:
        real = features[self._real]
        self._l1.append((real * self._adapter.layers[layer].W_dec.norm(dim=0)).sum(1).mean())
        self._n_active.append(float((real > 0).sum(1).double().mean()))


def _nmse(found: Tensor, truth: Tensor) -> Tensor:
    return (found - truth).float().square().mean() / truth.float().square().mean()


@contextmanager
def _streams(model: LanguageModel) -> Iterator[dict[int, Tensor]]:
    """Layer -> the residual stream [b, t, d] of the passes within it."""
    found: dict[int, Tensor] = {}
    with ExitStack() as undo:
        for layer, block in enumerate(model.blocks):

            def note(_: object, args: object, output: object, layer: int = layer) -> None:
                found[layer] = stream_of(output)

            undo.callback(block.register_forward_hook(note).remove)
        yield found
