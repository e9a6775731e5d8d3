"""What each feature does to the next-token loss: gradient x activation, and how far ablation ranks features alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ato.causal.ablation import ablation_effects
from ato.errors import DataError, InputError, SettingsError
from ato.features.document_sets import DocumentsOfFeatures
from ato.models.gradients import loss_gradient
from ato.models.language_model import LanguageModel, pad
from ato.numerics.intervals import Estimate, EstimateArray, document_interval
from ato.numerics.scales import CORRELATION, PLAIN
from ato.sae_studies.pair_sums import rank_correlation
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence

DOCUMENT_GROUPS = 64
"""Rows of the per-document sums at most: documents share a row when their numbers are equal modulo this."""
_FEWEST_RANKED = 3
"""Features below which ranks say nothing."""
_PRODUCTS = 1 << 16
"""Active (token, feature) pairs whose decoder rows are held at once."""
_CHUNK_FEATURES = 1024


@dataclass(frozen=True)
class AttributionSettings:
    """How the text is read.

    Raises:
        SettingsError: fewer than two tokens a sequence, or no sequence in a batch.
    """

    n_tokens: int = 64
    """First tokens of each sequence that are read: by both measures, so that they are of the same tokens."""
    batch_size: int = 16
    """Sequences in one pass."""
    max_norm_multiple: float = 10.0
    """Tokens with a residual beyond so many times the layer's median norm are left out, where that is given."""

    def __post_init__(self) -> None:
        if self.n_tokens < 2 or self.batch_size < 1:
            raise SettingsError(
                f"{self.n_tokens} tokens of {self.batch_size} sequences at a time",
                cure="read at least 2 tokens of 1 sequence",
            )


@dataclass(frozen=True)
class FeatureAttribution:
    """The features of one SAE by what they do to the loss, in nats per predicted token of the text."""

    feature_id: np.ndarray
    """[d_sae] int32."""
    n_tokens: int
    """Predicted tokens."""
    n_documents: int
    n_active: np.ndarray
    """[d_sae] int64, tokens behind the scores: active, not first, last, special or an outlier."""
    n_documents_active: np.ndarray
    """[d_sae] int64."""
    gradient_x_activation: EstimateArray
    """[d_sae] sum over tokens of a_f (dL / dx . W_dec_f) / predicted tokens, L the sum of the losses; NaN for a feature that
    is active nowhere. To first order it is what the feature adds to the loss: ablated, the loss rises by its negative."""
    activation_mass: np.ndarray
    """[d_sae] sum over tokens of a_f |W_dec_f| / predicted tokens: the baseline, which knows nothing of the loss."""
    candidate: np.ndarray
    """[c] int64, features that were ablated too."""
    ablation: EstimateArray
    """[c] rise of the loss with the feature ablated at all these tokens of a sequence; NaN where it is active nowhere."""
    n_ranked: int
    """Candidates that are active, over which ranks are compared."""
    rank_agreement: Estimate
    """Spearman's correlation of -gradient_x_activation with the ablation effect over the candidates, by document."""
    rank_agreement_of_mass: Estimate
    """The same of the activation mass with the ablation effect: the baseline."""
    rank_agreement_null_sd: float
    """Standard deviation of Spearman's correlation of unrelated ranks, which is 0 on average: 1 / sqrt(n_ranked - 1)."""
    reason: str | None
    """Why the agreement is missing; None where it is not."""


class GradientAttribution:
    """Accumulates gradient x activation of every feature of one SAE; memory is 64 groups of documents x features."""

    def __init__(self, sae: SparseAutoencoder):
        self._sae = sae
        self.sums = _Sums(np.zeros((DOCUMENT_GROUPS, 1)), *(np.zeros((DOCUMENT_GROUPS, sae.d_sae)) for _ in range(3)))
        self.documents = DocumentsOfFeatures(sae.d_sae)

    def update(
        self, active: ActiveFeatures, gradient: Tensor, document: np.ndarray, predicts: np.ndarray
    ) -> "GradientAttribution":
        """Take some tokens into account.

        Args:
            active: their active features.
            gradient: [n, d_in] of the summed loss with respect to what the SAE reads.
            document: [n] int64.
            predicts: [n] bool, tokens from which the next one is predicted.
        """
        feature = active.feature
        value, own = active.value.double(), torch.empty(len(feature), dtype=torch.float64, device=feature.device)
        for start in range(0, len(feature), _PRODUCTS):
            part = slice(start, start + _PRODUCTS)
            rows = self._sae.W_dec[feature[part]].double()
            slope = gradient[active.token[part].to(gradient.device)].to(rows)
            own[part] = torch.linalg.vecdot(slope, rows)
        norm = self._sae.decoder_norms[feature].double()
        f, token = feature.cpu().numpy(), active.token.cpu().numpy()
        group = document % DOCUMENT_GROUPS
        at = group[token] * self._sae.d_sae + f
        for sums, weight in ((self.sums.score, value * own), (self.sums.mass, value * norm), (self.sums.active, None)):
            weights = None if weight is None else weight.cpu().numpy()
            sums += np.bincount(at, weights, minlength=sums.size).reshape(sums.shape)
        self.sums.n[:, 0] += np.bincount(group[predicts], minlength=DOCUMENT_GROUPS)
        self.documents.update(document[token], f)
        return self


@dataclass(frozen=True)
class _Sums:
    """By groups of documents, [groups, features]."""

    n: np.ndarray
    """[groups, 1] predicted tokens."""
    score: np.ndarray
    mass: np.ndarray
    active: np.ndarray


@dataclass(frozen=True)
class _Ranked:
    """Of the candidates that are active, [groups, candidates]."""

    score: np.ndarray
    mass: np.ndarray
    rise: np.ndarray


@dataclass(frozen=True)
class _Part:
    """Sums over groups of documents, and the predicted tokens behind them."""

    total: np.ndarray
    n: np.ndarray


def feature_attribution(
    model: LanguageModel,
    place: tuple[int, SparseAutoencoder],
    sequences: Sequence["TokenSequence"],
    candidates: np.ndarray,
    settings: AttributionSettings | None = None,
    *,
    median_norm: float | None = None,
    on_rows: Callable[[int, int], None] | None = None,
) -> FeatureAttribution:
    """Gradient x activation of every feature, and the ablation effect of some, on the same tokens.

    One backward pass a batch gives the gradient of the loss with respect to the residual after the layer; the score of
    all features is read off it. Ablation runs the model again for each candidate and sequence, see
    ``ato.causal.ablation.ablation_effects``. Position 0, special tokens and norm outliers count in neither.

    Args:
        model: in its own precision; in bfloat16 the rounding of a loss is about 0.03 nats per token.
        place: layer, and SAE of the residual stream after it.
        sequences: held-out text.
        candidates: [c] features to ablate, chosen without a look at the scores; may be empty.
        settings: default ``AttributionSettings()``.
        median_norm: of the residuals at the layer; None leaves outliers in.
        on_rows: told (rows ablated, rows in all) after each batch.

    Raises:
        DataError: no sequence has two tokens.
        InputError: a candidate twice, or beyond d_sae.
        LayerError: the layer is not in the model.
    """
    settings, (layer, sae) = settings or AttributionSettings(), place
    candidates = np.asarray(candidates, dtype=np.int64)
    if len(np.unique(candidates)) < len(candidates):
        raise InputError("a candidate is named twice", cure="name each feature once")
    read = [replace(one, token_ids=one.token_ids[: settings.n_tokens]) for one in sequences if len(one.token_ids) > 1]
    if not read:
        raise DataError("no sequence has a token to predict", cure="give sequences of at least 2 tokens")
    gradients = GradientAttribution(sae)
    limit = np.inf if median_norm is None else settings.max_norm_multiple * median_norm
    by_length = sorted(range(len(read)), key=lambda i: len(read[i].token_ids))
    for start in range(0, len(read), settings.batch_size):
        batch = [read[i] for i in by_length[start : start + settings.batch_size]]
        ids, lengths = (part.to(model.device) for part in pad([one.token_ids for one in batch]))
        residual = model.residuals(ids, lengths, [layer])[layer]
        _, gradient = loss_gradient(model, layer, residual, ids, lengths)
        for one, x, slope in zip(batch, residual, gradient):
            kept = _kept(model, one.token_ids, x, limit)
            document = np.full(len(one.token_ids), one.document, dtype=np.int64)
            active = _only(sae.active(x[: len(document)].to(sae.W_dec)), kept)
            gradients.update(active, slope, document, np.arange(len(document)) < len(document) - 1)
    rises = np.zeros((DOCUMENT_GROUPS, len(candidates)))
    if len(candidates):
        norms = None if median_norm is None else {layer: median_norm}
        effects = ablation_effects(
            model,
            {"": (layer, sae, candidates)},
            read,
            n_sequences=len(read),
            n_tokens=settings.n_tokens,
            batch_size=settings.batch_size,
            median_norm=norms,
            max_norm_multiple=settings.max_norm_multiple,
            on_rows=on_rows,
        )[""]
        np.add.at(rises, effects.documents % DOCUMENT_GROUPS, effects.rises)
    return _summarised(gradients, candidates, rises, len({one.document for one in read}))


def _kept(model: LanguageModel, token_ids: np.ndarray, x: Tensor, limit: float) -> np.ndarray:
    """[t] bool: the tokens that ablation edits too."""
    n = len(token_ids)
    place = np.arange(n)
    kept = (place > 0) & (place < n - 1) & ~np.isin(token_ids, sorted(model.special_token_ids))
    return kept & (x[:n].float().norm(dim=1) <= limit).cpu().numpy()


def _only(active: ActiveFeatures, kept: np.ndarray) -> ActiveFeatures:
    """The active features of some of the tokens; rows stay as they are numbered."""
    wanted = torch.from_numpy(kept).to(active.token.device)[active.token]
    return ActiveFeatures(active.n, active.token[wanted], active.feature[wanted], active.value[wanted])


def _summarised(
    gradients: GradientAttribution, candidates: np.ndarray, rises: np.ndarray, n_documents: int
) -> FeatureAttribution:
    sums = gradients.sums
    fires = sums.active.sum(0) > 0
    ranked = candidates[fires[candidates]]
    chosen = _Ranked(sums.score[:, ranked], sums.mass[:, ranked], rises[:, fires[candidates]])
    enough = len(ranked) >= _FEWEST_RANKED

    def agreement(ranks: Callable[[_Ranked], np.ndarray]) -> Estimate:
        if not enough:
            return Estimate(None)
        return document_interval(
            chosen, lambda part: rank_correlation(ranks(part), part.rise), sums.n[:, 0], CORRELATION
        ).item()

    n_tokens = int(sums.n.sum())
    return FeatureAttribution(
        feature_id=np.arange(len(fires), dtype=np.int32),
        n_tokens=n_tokens,
        n_documents=n_documents,
        n_active=sums.active.sum(0).astype(np.int64),
        n_documents_active=gradients.documents.counts(),
        gradient_x_activation=_means(sums.score, sums.n, fires),
        activation_mass=np.where(fires, sums.mass.sum(0) / max(n_tokens, 1), np.nan),
        candidate=candidates,
        ablation=_means(rises, sums.n, fires[candidates]),
        n_ranked=len(ranked),
        rank_agreement=agreement(lambda part: -part.score),
        rank_agreement_of_mass=agreement(lambda part: part.mass),
        rank_agreement_null_sd=float(len(ranked) - 1) ** -0.5 if enough else float("nan"),
        reason=None if enough else f"{len(ranked)} ablated features are active: too few to rank",
    )


def _means(totals: np.ndarray, n: np.ndarray, known: np.ndarray) -> EstimateArray:
    """Per predicted token, with intervals by document; NaN where not known."""
    parts = [np.full((3, 0), np.nan)]
    for start in range(0, totals.shape[1], _CHUNK_FEATURES):
        own = totals[:, start : start + _CHUNK_FEATURES]
        found = document_interval(_Part(own, n), lambda part: part.total / part.n, n, PLAIN)
        parts.append(np.stack([found.value, found.low, found.high]))
    return EstimateArray(*np.where(known, np.concatenate(parts, axis=1), np.nan))
