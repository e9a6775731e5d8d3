"""How strongly each feature fires on each of some texts: streamed, so that what is held is features x texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ato.errors import InputError, SettingsError
from ato.features.concept_texts import span_tokens
from ato.models.language_model import LanguageModel
from ato.models.position_reading import read_positions
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder
from ato.saes.transcoder import Transcoder

REDUCTIONS = ("max", "mean")
"""Over the tokens of a text."""


@dataclass(frozen=True, eq=False)
class SearchedSAE:
    """An SAE, or a transcoder, and where it reads."""

    key: str
    layer: int
    sae: SparseAutoencoder | Transcoder
    site: str = "resid_post"


@dataclass(frozen=True, eq=False)
class TokenizedTexts:
    """Texts as they are run."""

    token_ids: list[np.ndarray]
    counted: list[np.ndarray]
    """[t] bool of each: all tokens but the first and special ones."""
    in_span: list[np.ndarray]
    """[t] bool of each: tokens of the text's spans."""
    n_cut: int
    """Texts that were longer than is run."""


def tokenize(
    tokenizer: Any,
    texts: Sequence[str],
    spans: Sequence[Sequence[tuple[int, int]]],
    *,
    special_ids: frozenset[int] = frozenset(),
    prepend_bos: bool = False,
    max_tokens: int = 128,
) -> TokenizedTexts:
    """Token ids of texts, with the tokens that count and those of the spans.

    Args:
        tokenizer: a fast tokenizer of transformers.
        texts: not empty.
        spans: ranges of characters of each text.
        special_ids: ids that stand for no text.
        prepend_bos: put the BOS token before each text.
        max_tokens: what is longer is cut.

    Raises:
        SettingsError: the tokenizer gives no offsets, or has no BOS token to prepend.
        InputError: a text has no token that counts.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise SettingsError("the tokenizer gives no character offsets", cure="use a model with a fast tokenizer")
    if prepend_bos and tokenizer.bos_token_id is None:
        raise SettingsError("the tokenizer has no BOS token to prepend", cure="leave it out")
    bos = [tokenizer.bos_token_id] if prepend_bos else []
    found, n_cut = TokenizedTexts([], [], [], 0), 0
    for i, (text, ranges) in enumerate(zip(texts, spans, strict=True)):
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids = np.array([*bos, *encoded["input_ids"]], dtype=np.int64)
        inside = np.append(np.zeros(len(bos), dtype=bool), span_tokens(text, encoded["offset_mapping"], ranges))
        n_cut += len(ids) > max_tokens
        ids, inside = ids[:max_tokens], inside[:max_tokens]
        counted = (np.arange(len(ids)) > 0) & ~np.isin(ids, list(special_ids))
        if not counted.any():
            raise InputError(
                f"a text has no token but the first: {text[:60]!r}",
                where=f"text {i + 1}",
                cure="write a longer text, or leave it out",
            )
        for kept, value in ((found.token_ids, ids), (found.counted, counted), (found.in_span, inside)):
            kept.append(value)
    return TokenizedTexts(found.token_ids, found.counted, found.in_span, n_cut)


@dataclass(frozen=True, eq=False)
class TextActivations:
    """Of one SAE on n texts."""

    values: np.ndarray
    """[n, d_sae] float32, over all tokens that count."""
    elsewhere: np.ndarray
    """[n, d_sae] float32, over those outside the text's spans; NaN where there is none."""


def text_activations(
    model: LanguageModel,
    saes: Sequence[SearchedSAE],
    texts: TokenizedTexts,
    reduce: str = "max",
    *,
    batch_size: int = 32,
    advance: Callable[[int], None] = lambda n: None,
) -> list[TextActivations]:
    """Largest or mean activation of every feature on every text, of each SAE.

    Args:
        model: the model.
        saes: of one site; all are read in one pass.
        texts: what is run.
        reduce: one of ``REDUCTIONS``.
        batch_size: texts at a time.
        advance: told after every batch how many more texts are done.

    Raises:
        SettingsError: an unknown reduction, or SAEs of several sites.
        SAEError: an SAE of another width.
        LayerError, ModelError: as ``read_positions``.
    """
    if reduce not in REDUCTIONS:
        raise SettingsError(f"unknown reduction {reduce!r}", cure=f"choose from {', '.join(REDUCTIONS)}")
    if len(sites := sorted({one.site for one in saes})) > 1:
        raise SettingsError(f"SAEs of the sites {' and '.join(sites)} at once", cure="search one site")
    n = len(texts.token_ids)
    found = [
        TextActivations(np.zeros((n, one.sae.d_sae), np.float32), np.zeros((n, one.sae.d_sae), np.float32))
        for one in saes
    ]
    # Texts of about one length are run together.
    order = sorted(range(n), key=lambda i: len(texts.token_ids[i]))
    on_device = [one.sae.to(model.device) for one in saes]
    layers, site = [one.layer for one in saes], sites[0] if sites else "resid_post"
    for start in range(0, n, batch_size):
        own = order[start : start + batch_size]
        places = [np.flatnonzero(texts.counted[i]) for i in own]
        ids = [texts.token_ids[i] for i in own]
        outside = np.concatenate([~texts.in_span[i][place] for i, place in zip(own, places)])
        for read in read_positions(model, ids, places, layers, batch_size=len(own), site=site):
            row = torch.from_numpy(read.prompt).to(model.device)
            kept = torch.from_numpy(outside).to(model.device)
            for one, sae, of_sae in zip(saes, on_device, found):
                active = sae.active(torch.from_numpy(read.residuals[one.layer]).to(model.device))
                for table, mask in ((of_sae.values, torch.ones_like(kept)), (of_sae.elsewhere, kept)):
                    table[own] = _reduced(active, row, mask, (len(own), sae.d_sae), reduce)
        advance(len(own))
    return found


def _reduced(
    active: ActiveFeatures, row: torch.Tensor, kept: torch.Tensor, shape: tuple[int, int], reduce: str
) -> np.ndarray:
    """[texts, d_sae] of triplets whose tokens are of these rows [tokens], kept ones only; NaN for a row without one."""
    inside = kept[active.token]
    place = (row[active.token] * shape[1] + active.feature)[inside]
    value, count = active.value[inside], torch.bincount(row[kept], minlength=shape[0])
    flat = torch.zeros(shape[0] * shape[1], device=value.device)
    if reduce == "max":
        table = flat.scatter_reduce_(0, place, value.float(), "amax").view(shape)
    else:
        table = flat.index_add_(0, place, value.float()).view(shape) / count.clamp_min(1)[:, None]
    table[count == 0] = torch.nan
    result: np.ndarray = table.cpu().numpy()
    return result
