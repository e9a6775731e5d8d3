"""How much of the model's loss an SAE keeps when its reconstruction is put back into the running model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ato.models.forward import Edit
from ato.models.language_model import LanguageModel, pad
from ato.numerics.bootstrap import document_bootstrap
from ato.numerics.document_sums import DocumentSums, Segments
from ato.saes.autoencoder import SparseAutoencoder

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence


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
    site: str = "resid_post",
) -> SpliceLosses:
    """Losses with each SAE's reconstruction, or zero, in place of the residual at its layer.

    In the residual stream the layers below are run once per batch and shared by all SAEs and edits, and each edit
    runs the blocks above its layer only; at other sites each edit runs the whole model. Edited are all positions
    except the first of a sequence and special tokens, which carry massive activations that no SAE here is trained on,
    and (where ``median_norm`` is given) tokens whose norm exceeds ``max_norm_multiple`` times the layer's median.

    Args:
        saes: name -> (layer, SAE).
        sequences: held-out sequences; losses come back in their order.
        median_norm: layer -> median norm of what the SAEs read.
        site: what the SAEs read and what is replaced, see ``ato.models.sites.SITES``.
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
            edits = _edits(saes, layers, _editable(model, input_ids, lengths), limits)
            for name, token_losses in _edited_losses(model, edits, input_ids, lengths, site):
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
        "clean": losses.clean,
        "spliced": losses.spliced[name],
        "zero": losses.zero[losses.layer[name]],
    }
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


def _recovered(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    increase = sums["zero"] - sums["clean"]
    return (sums["zero"] - sums["spliced"]) / np.where(increase > 0, increase, np.nan)


def _editable(model: LanguageModel, input_ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """[b, t], true for tokens that may be edited: neither the first of a sequence nor special nor padding."""
    position = torch.arange(input_ids.shape[1], device=input_ids.device)
    special = torch.tensor(sorted(model.special_token_ids), dtype=input_ids.dtype, device=input_ids.device)
    return (position > 0) & (position < lengths[:, None]) & ~torch.isin(input_ids, special)


def _edits(
    saes: Mapping[str, tuple[int, SparseAutoencoder]],
    layers: Sequence[int],
    editable: torch.Tensor,
    limits: Mapping[int, float],
) -> dict[str | int, tuple[int, Edit]]:
    """Name -> (layer, edit): each layer zeroed under its number, each SAE spliced under its name."""

    def mask(layer: int, x: torch.Tensor) -> torch.Tensor:
        return editable if layer not in limits else editable & (x.float().norm(dim=-1) <= limits[layer])

    def zeroed(layer: int) -> Edit:
        return lambda x: x.masked_fill(mask(layer, x)[..., None], 0.0)

    def spliced(layer: int, sae: SparseAutoencoder) -> Edit:
        def edit(x: torch.Tensor) -> torch.Tensor:
            edited, chosen = x.clone(), mask(layer, x)
            edited[chosen] = sae.reconstruct(x[chosen]).to(x.dtype)
            return edited

        return edit

    edits: dict[str | int, tuple[int, Edit]] = {layer: (layer, zeroed(layer)) for layer in layers}
    return edits | {name: (layer, spliced(layer, sae)) for name, (layer, sae) in saes.items()}


def _edited_losses(
    model: LanguageModel,
    edits: Mapping[str | int, tuple[int, Edit]],
    input_ids: torch.Tensor,
    lengths: torch.Tensor,
    site: str,
) -> Iterator[tuple[str | int, torch.Tensor]]:
    """(name of the edit, token losses [b, t-1]), ``clean`` first.

    Edits of the residual stream share the blocks below them; elsewhere each edit is a pass of its own.
    """
    if site != "resid_post":
        yield "clean", model.token_losses(input_ids, lengths)
        for name, (layer, edit) in edits.items():
            yield name, model.token_losses(input_ids, lengths, edit, layer, site=site)
        return
    residuals = model.residuals(input_ids, lengths, {layer for layer, _ in edits.values()})
    highest = max(residuals)
    yield "clean", model.losses_from(highest, residuals[highest], input_ids, lengths)
    for name, (layer, edit) in edits.items():
        yield name, model.losses_from(layer, edit(residuals[layer]), input_ids, lengths)
