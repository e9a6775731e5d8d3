"""Residuals straight from the running model: a residual source that stores nothing."""

from collections import Counter, abc
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ato.errors import LayerError
from ato.models.forward import Keep, Pass
from ato.models.language_model import LanguageModel, pad
from ato.residuals.attended import most_attended
from ato.residuals.blocks import ResidualBlock
from ato.residuals.exclusion import NORM_OUTLIER, ExclusionPolicy
from ato.residuals.position_policies import Layer, layer_number
from ato.text.sequences import TokenSequence

DEFAULT_BATCH_SIZE = 8
"""Sequences a batch: on a CPU larger batches are not faster, and 8 of 128 tokens keep memory small."""


class LiveSource:
    """A residual source that runs the model over sequences, a batch at a time.

    Batches hold sequences of one split, longest first, so that a pass over one split runs the very batches of a pass
    over all. Which tokens are dropped never depends on the layers asked for: the norm rule looks at all layers of the
    source on the first pass, and its verdicts are remembered.

    Args:
        model: to run.
        sequences: of a collection, or of one shard of it.
        layers: that may be asked for; the norm rule looks at these.
        n_folds: cross-validation folds within train.
        batch_size: sequences a batch.
        policy: which tokens to drop.
        median_norm: layer -> median norm of the pilot; None leaves the norm rule out.
        output_device: where blocks are handed out; None leaves them on the model's device.
        attention_layers: blocks of the model whose attention comes along, as ``block.attended``.
        attention_top_k: positions kept for each token.
        site: where in the blocks residuals are read, see ``ato.models.sites.SITES``.

    Raises:
        LayerError: a layer is not in the model, or has no median norm.
        SettingsError: attention of a model that does not give its weights, or an unknown site.
    """

    def __init__(
        self,
        model: LanguageModel,
        sequences: abc.Iterable[TokenSequence],
        layers: abc.Iterable[int],
        *,
        n_folds: int,
        batch_size: int = DEFAULT_BATCH_SIZE,
        policy: ExclusionPolicy | None = None,
        median_norm: abc.Mapping[int, float] | None = None,
        output_device: torch.device | str | None = "cpu",
        attention_layers: abc.Iterable[int] = (),
        attention_top_k: int = 4,
        site: str = "resid_post",
    ):
        self.layers = tuple(sorted(set(layers)))
        model.check_layers(self.layers)
        self.attention_layers = tuple(sorted(set(attention_layers)))
        model.check_attention(self.attention_layers)
        self.d_model = model.width(site, self.layers or (0,))
        self.n_folds = n_folds
        self.dropped: Counter[str] = Counter()
        """Tokens of the latest pass that were run but dropped, by reason."""
        self.tokens_run = 0
        """Tokens of the latest pass that were run; padding does not count."""
        self._model = model
        self._policy = ExclusionPolicy() if policy is None else policy
        self._median_norm = median_norm if self._policy.max_norm_multiple is not None else None
        if median_norm is not None and (missing := sorted(set(self.layers) - set(median_norm))):
            raise LayerError(f"layers {missing} have no median norm", cure="measure it in a pilot over the same layers")
        self._output_device = model.device if output_device is None else torch.device(output_device)
        self._top_k, self._site = attention_top_k, site
        self._batches = _batches(sequences, n_folds, batch_size)
        self._special = model.special_token_ids
        self._outliers: dict[int, np.ndarray] = {}  # batch number -> mask over its tokens

    def blocks(
        self, layers: abc.Sequence[Layer] | None = None, splits: abc.Collection[str] | None = None
    ) -> abc.Iterator[ResidualBlock]:
        """One block of kept tokens a batch, rows ordered by sequence within the batch and by position.

        Raises:
            LayerError: a layer is not in this source.
        """
        if missing := sorted(set(layers or ()) - set(self.layers)):
            raise LayerError(f"layers {missing} are not in this source", cure=f"choose from {list(self.layers)}")
        wanted = [layer for layer in self.layers if layers is None or layer in layers]
        self.dropped, self.tokens_run = Counter(), 0
        for number, batch in enumerate(self._batches):
            if splits is None or batch.split in splits:
                block = self._run(number, batch, dict.fromkeys(wanted))
                if block.n:
                    yield block

    def joined(self) -> ResidualBlock:
        """All blocks as one, as ``ResidualBlock.join`` would make it, but gathered into its memory at once."""
        self.dropped, self.tokens_run = Counter(), 0
        n = sum(batch.n_tokens for batch in self._batches)
        whole = {layer: self._empty(n) for layer in self.layers}
        blocks: list[ResidualBlock] = []
        taken = 0
        for number, batch in enumerate(self._batches):
            blocks.append(self._run(number, batch, {layer: x[taken:] for layer, x in whole.items()}))
            taken += blocks[-1].n
        return ResidualBlock.join_keys(blocks, {layer: x[:taken] for layer, x in whole.items()})

    def _empty(self, n: int) -> Tensor:
        return torch.empty(n, self.d_model, dtype=torch.float32, device=self._output_device)

    def _run(self, number: int, batch: "_Batch", out: abc.Mapping[int, Tensor | None]) -> ResidualBlock:
        """The kept tokens of a batch at the layers of ``out``, in the first rows of its tensor where there is one."""
        ids, lengths = pad([sequence.token_ids for sequence in batch.sequences])
        keys, cells = batch.keys(self.n_folds), batch.cells(ids.shape[1])
        keep, dropped = self._policy.keep_tokens(keys.token_id, keys.position, self._special)
        judge = self._median_norm is not None and number not in self._outliers
        if self._median_norm is not None and not judge:
            _drop(self._outliers[number], keep, dropped)
        gathered = torch.from_numpy(cells[keep]).to(self._model.device)
        norms: dict[int, Tensor] = {}

        def rows(layer: int, stream: Tensor) -> Tensor:
            """Widened only after they were gathered, to move half the bytes."""
            found = stream.flatten(0, 1).index_select(0, gathered)
            if layer in out:
                rows_out = out[layer]
                found = (self._empty(len(found)) if rows_out is None else rows_out[: len(found)]).copy_(found)
            if judge:
                norms[layer] = torch.linalg.vector_norm(found, dim=1, dtype=torch.float32)
            return found if layer in out else found[:0]

        run = self._read(ids, lengths, self.layers if judge else out, rows)
        residuals: dict[Layer, Tensor] = {layer: run.residuals[layer] for layer in out}
        if judge:
            outliers = self._judge(norms, keep)
            self._outliers[number] = outliers
            if (outliers & keep).any():
                stay = torch.from_numpy(np.flatnonzero(~outliers[keep]))
                residuals = {layer: only_rows(x, stay) for layer, x in residuals.items()}
            _drop(outliers, keep, dropped)
        self.tokens_run += len(keep)
        self.dropped += dropped
        kept = torch.zeros(ids.shape, dtype=torch.bool)
        kept.view(-1)[torch.from_numpy(cells[keep])] = True
        return ResidualBlock(
            residuals,
            keys.sequence_id[keep],
            keys.position[keep],
            keys.token_id[keep],
            keys.document[keep],
            keys.group[keep],
            {
                layer: most_attended(w, torch.from_numpy(cells[keep]), kept, self._top_k)
                for layer, w in run.attention.items()
            },
        )

    def _read(self, ids: Tensor, lengths: Tensor, layers: abc.Iterable[int], keep: Keep) -> Pass:
        """One pass; what is kept of each layer's values [b, t, d_model] is returned."""
        return self._model.read(ids, lengths, layers, attention=self.attention_layers, site=self._site, keep=keep)

    def _judge(self, norms: abc.Mapping[int, Tensor], keep: np.ndarray) -> np.ndarray:
        """Mask over all tokens of a batch of those whose norms, given for the kept ones, are outliers."""
        assert self._median_norm is not None
        table = torch.stack([norms[layer] for layer in self.layers]).cpu().double().numpy()  # waits for a device once
        outliers = np.zeros(len(keep), dtype=bool)
        outliers[keep] = self._policy.norm_outliers(dict(zip(self.layers, table)), self._median_norm)
        return outliers


def _drop(outliers: np.ndarray, keep: np.ndarray, dropped: Counter[str]) -> None:
    """Take norm outliers out of the tokens kept, and count those that were still there."""
    if n := int((outliers & keep).sum()):
        dropped[NORM_OUTLIER] = n
        keep &= ~outliers


def only_rows(x: Tensor, rows: Tensor) -> Tensor:
    """The given rows, ascending, of x [n, d]; they take the first rows' memory."""
    return x[: len(rows)].copy_(x.index_select(0, rows.to(x.device)))


@dataclass(frozen=True)
class _Keys:
    sequence_id: np.ndarray
    position: np.ndarray
    token_id: np.ndarray
    document: np.ndarray
    group: np.ndarray


@dataclass(frozen=True)
class _Batch:
    split: str
    sequences: tuple[TokenSequence, ...]

    @property
    def n_tokens(self) -> int:
        """Tokens, without padding."""
        return sum(len(s.token_ids) for s in self.sequences)

    def cells(self, width: int) -> np.ndarray:
        """Index of every token in the padded batch [b * width], sequence by sequence."""
        return np.concatenate([i * width + np.arange(len(s.token_ids)) for i, s in enumerate(self.sequences)])

    def keys(self, n_folds: int) -> _Keys:
        lengths = [len(s.token_ids) for s in self.sequences]

        def repeated(values: list[int], dtype: type) -> np.ndarray:
            return np.repeat(np.array(values, dtype=dtype), lengths)

        return _Keys(
            repeated([s.sequence_id for s in self.sequences], np.int64),
            np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
            np.concatenate([s.token_ids for s in self.sequences]).astype(np.int32),
            repeated([s.document for s in self.sequences], np.int64),
            repeated([s.group(n_folds) for s in self.sequences], np.int16),
        )


def _batches(sequences: abc.Iterable[TokenSequence], n_folds: int, batch_size: int) -> list[_Batch]:
    by_split: dict[str, list[TokenSequence]] = {"train": [], "val": [], "test": []}
    for sequence in sequences:
        by_split[sequence.split].append(sequence)
    batches = []
    for split, members in by_split.items():
        members.sort(key=lambda s: (-len(s.token_ids), s.sequence_id))
        batches += [_Batch(split, tuple(members[i : i + batch_size])) for i in range(0, len(members), batch_size)]
    return batches


def median_norms(blocks: abc.Iterable[ResidualBlock]) -> dict[int, float]:
    """Median residual norm per layer of some blocks (the pilot of a collection); keeps norms, not residuals."""
    norms: dict[int, list[np.ndarray]] = {}
    for block in blocks:
        for layer in block.residuals:
            norms.setdefault(layer_number(layer), []).append(block.norm(layer).cpu().numpy())
    return {layer: float(np.median(np.concatenate(parts))) for layer, parts in norms.items()}
