"""How good an SAE is on held-out text: variance unexplained, sparsity, dead features, loss recovered, trust."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ato.bootstrap import DocumentSums, Segments, document_bootstrap
from ato.errors import MismatchError
from ato.models import LanguageModel, pad
from ato.residuals import ResidualBlock
from ato.saes import ActiveFeatures, SparseAutoencoder

if TYPE_CHECKING:
    from ato.text import Sequence as TokenSequence

DOCUMENT_GROUPS = 256
"""Rows of the per-document sums at most: documents share a row when their numbers are equal modulo this."""


@dataclass(frozen=True)
class Reconstruction:
    """How well an SAE reconstructs the residuals it was judged on; NaN where there is nothing to say."""

    n_tokens: int
    n_documents: int
    fvu: float
    """sum |x - x_hat|^2 / sum |x - mean x|^2."""
    fvu_low: float
    fvu_high: float
    """95 % interval from resampling documents; NaN with fewer than two."""
    l0: float
    """Mean number of active features per token."""
    dead_share: float
    """Share of features that fired on none of the tokens."""


class SAEQuality:
    """Accumulates the reconstruction quality of one SAE.

    Sums are kept per document, since the variance of a resample of documents is about that resample's own mean.

    Args:
        sae: the SAE.
        layer: layer whose residuals it reads.
    """

    def __init__(self, sae: SparseAutoencoder, layer: int):
        self._sae, self._layer = sae, layer
        self._sums = DocumentSums()
        self._documents: set[int] = set()
        self._n_active = 0
        self._fired = np.zeros(sae.d_sae, dtype=bool)

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "SAEQuality":
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        x = block.residuals[self._layer]
        active = self._sae.active(x) if active is None else active
        self._documents.update(np.unique(block.document).tolist())
        self._n_active += len(active.feature)
        self._fired[active.feature.unique().cpu().numpy()] = True
        x = x.to(self._sae.W_dec)
        errors = (x - self._sae.decode_active(active)).double().square().sum(1)
        # b_dec is near the mean: about it, squares do not cancel when the mean is subtracted in the end.
        centred = (x - self._sae.b_dec).double()
        segments = Segments.of(block.document % DOCUMENT_GROUPS)
        parts = {
            "n": torch.ones(len(x), dtype=torch.float64, device=x.device),
            "errors": errors,
            "squares": centred.square().sum(1),
            "total": centred,
        }
        self._sums.add(
            segments.documents, {name: segments.sums(segments.arrange(rows)) for name, rows in parts.items()}
        )
        return self

    def __add__(self, other: "SAEQuality") -> "SAEQuality":
        """Quality over both streams.

        Raises:
            MismatchError: they are of different SAEs or layers.
        """
        if (self._sae.weights_hash, self._layer) != (other._sae.weights_hash, other._layer):
            raise MismatchError("qualities of different SAEs cannot be added", cure="add those of one SAE")
        total = SAEQuality(self._sae, self._layer)
        total._sums = self._sums + other._sums
        total._documents = self._documents | other._documents
        total._n_active = self._n_active + other._n_active
        total._fired = self._fired | other._fired
        return total

    def result(self, n_boot: int = 1000, seed: int = 0) -> Reconstruction:
        """The quality over all tokens seen, with the interval from resampling documents."""
        tables = self._sums.arrays()
        n = int(tables["n"].sum()) if tables else 0
        if n == 0:
            return Reconstruction(0, 0, *(float("nan"),) * 4, dead_share=1.0)
        low, high = document_bootstrap(tables, _fvu, n_boot, seed)
        return Reconstruction(
            n_tokens=n,
            n_documents=len(self._documents),
            fvu=float(_fvu({name: table.sum(0)[None] for name, table in tables.items()})[0]),
            fvu_low=float("nan") if low is None else float(low),
            fvu_high=float("nan") if high is None else float(high),
            l0=self._n_active / n,
            dead_share=float(1 - self._fired.mean()),
        )


def _fvu(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """Fraction of variance unexplained [b] from sums [b, ...]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums["errors"] / (sums["squares"] - np.square(sums["total"]).sum(-1) / sums["n"])


@dataclass(frozen=True)
class SpliceLosses:
    """Next-token losses of sequences, summed over each sequence's predicted tokens, in nats."""

    sequence_id: np.ndarray
    """[n] int64."""
    document: np.ndarray
    """[n] int64."""
    n_predicted: np.ndarray
    """[n] int64, tokens predicted."""
    clean: np.ndarray
    """[n] of the unedited model."""
    spliced: dict[str, np.ndarray]
    """SAE -> [n] with its reconstruction in place of the residual."""
    zero: dict[int, np.ndarray]
    """Layer -> [n] with the residual zeroed."""
    layer: dict[str, int]
    """SAE -> its layer."""


@dataclass(frozen=True)
class CERecovered:
    """Share of the zero-ablation loss increase that splicing an SAE avoids, with mean losses in nats per token."""

    ce_recovered: float
    ce_recovered_low: float
    ce_recovered_high: float
    """95 % interval from resampling documents; NaN with fewer than two."""
    ce_clean: float
    ce_spliced: float
    ce_zero: float


def splice_losses(
    model: LanguageModel,
    saes: Mapping[str, tuple[int, SparseAutoencoder]],
    sequences: Sequence["TokenSequence"],
    *,
    batch_size: int = 8,
    median_norm: Mapping[int, float] | None = None,
    max_norm_multiple: float = 10.0,
) -> SpliceLosses:
    """Losses with each SAE's reconstruction, or zero, in place of the residual at its layer.

    The layers below are run once per batch and shared by all SAEs and edits; each edit runs the blocks above its
    layer only. Edited are all positions except the first of a sequence and special tokens, which carry massive
    activations that no SAE here is trained on, and (where ``median_norm`` is given) tokens whose residual norm
    exceeds ``max_norm_multiple`` times the layer's median.

    Args:
        saes: name -> (layer, SAE).
        sequences: held-out sequences; losses come back in their order.
        median_norm: layer -> median residual norm.
    """
    layers = sorted({layer for layer, _ in saes.values()})
    names: list[str | int] = ["clean", *saes, *layers]
    losses = {name: np.zeros(len(sequences)) for name in names}
    limits = {layer: max_norm_multiple * norm for layer, norm in (median_norm or {}).items()}
    by_length = np.argsort([len(s.token_ids) for s in sequences], kind="stable")  # little padding in a batch
    for start in range(0, len(by_length), batch_size):
        rows = by_length[start : start + batch_size]
        input_ids, lengths = (x.to(model.device) for x in pad([sequences[row].token_ids for row in rows]))
        with torch.inference_mode():
            residuals = model.residuals(input_ids, lengths, layers)
            for name, layer, edited in _edits(model, saes, residuals, input_ids, lengths, limits):
                token_losses = model.losses_from(layer, edited, input_ids, lengths)
                losses[name][rows] = token_losses.double().sum(1).cpu().numpy()
    return SpliceLosses(
        sequence_id=np.array([s.sequence_id for s in sequences], dtype=np.int64),
        document=np.array([s.document for s in sequences], dtype=np.int64),
        n_predicted=np.array([len(s.token_ids) - 1 for s in sequences], dtype=np.int64),
        clean=losses["clean"],
        spliced={name: losses[name] for name in saes},
        zero={layer: losses[layer] for layer in layers},
        layer={name: layer for name, (layer, _) in saes.items()},
    )


def ce_recovered(losses: SpliceLosses, name: str, n_boot: int = 1000, seed: int = 0) -> CERecovered:
    """(CE zero - CE spliced) / (CE zero - CE clean) of one SAE, CE being the mean over predicted tokens.

    NaN where zeroing the residual does not raise the loss: there is then nothing to recover.

    Args:
        name: the SAE, as it was named to ``splice_losses``.
    """
    sums = DocumentSums()
    segments = Segments.of(losses.document)
    rows = {
        "clean": losses.clean, "spliced": losses.spliced[name], "zero": losses.zero[losses.layer[name]],
    }  # fmt: skip
    sums.add(
        segments.documents,
        {key: segments.sums(segments.arrange(torch.from_numpy(value))) for key, value in rows.items()},
    )
    tables = sums.arrays()
    low, high = document_bootstrap(tables, _recovered, n_boot, seed)
    n = losses.n_predicted.sum()
    return CERecovered(
        ce_recovered=float(_recovered({key: table.sum(0)[None] for key, table in tables.items()})[0]),
        ce_recovered_low=float("nan") if low is None else float(low),
        ce_recovered_high=float("nan") if high is None else float(high),
        **{f"ce_{key}": float(value.sum() / n) for key, value in rows.items()},
    )


@dataclass(frozen=True)
class QualityLimits:
    """What an SAE must reach for its features' scores to be trusted; None leaves a limit out."""

    max_fvu: float | None = 0.5
    min_ce_recovered: float | None = 0.7
    max_dead_share: float | None = 0.5

    def judge(self, *, fvu: float, dead_share: float, ce_recovered: float | None = None) -> tuple[bool, str | None]:
        """Whether every limit is kept, and if not which are missed, as one clause for the table ``saes``.

        A value that is not a number misses its limit; a ``ce_recovered`` of None was not measured and misses none.
        """
        missed = []
        if self.max_fvu is not None and not fvu <= self.max_fvu:
            missed.append(f"fvu {fvu:.3g} > {self.max_fvu:g}")
        if self.min_ce_recovered is not None and ce_recovered is not None and not ce_recovered >= self.min_ce_recovered:
            missed.append(f"ce_recovered {ce_recovered:.3g} < {self.min_ce_recovered:g}")
        if self.max_dead_share is not None and not dead_share <= self.max_dead_share:
            missed.append(f"dead_share {dead_share:.3g} > {self.max_dead_share:g}")
        return not missed, "; ".join(missed) or None


def _recovered(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    increase = sums["zero"] - sums["clean"]
    return (sums["zero"] - sums["spliced"]) / np.where(increase > 0, increase, np.nan)


def _edits(
    model: LanguageModel,
    saes: Mapping[str, tuple[int, SparseAutoencoder]],
    residuals: Mapping[int, torch.Tensor],
    input_ids: torch.Tensor,
    lengths: torch.Tensor,
    limits: Mapping[int, float],
) -> Iterator[tuple[str | int, int, torch.Tensor]]:
    """(name of the edit, layer, residual [b, t, d]): clean, each SAE spliced, each layer zeroed."""
    highest = max(residuals)
    yield "clean", highest, residuals[highest]
    position = torch.arange(input_ids.shape[1], device=input_ids.device)
    editable = (position > 0) & (position < lengths[:, None])
    special = torch.tensor(sorted(model.special_token_ids), dtype=input_ids.dtype, device=input_ids.device)
    editable &= ~torch.isin(input_ids, special)
    for layer, x in residuals.items():
        mask = editable if layer not in limits else editable & (x.float().norm(dim=-1) <= limits[layer])
        yield layer, layer, x.masked_fill(mask[..., None], 0.0)
        for name, (sae_layer, sae) in saes.items():
            if sae_layer == layer:
                edited = x.clone()
                edited[mask] = sae.reconstruct(x[mask]).to(x.dtype)
                yield name, layer, edited
