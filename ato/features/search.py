"""Features of a concept: chosen by AUROC on half of the texts, measured on the other half, beside what chance finds.

1. Every feature of every SAE gets its largest (or mean) activation on each text.
2. Features are ranked by the chance that a text with the concept has a larger one than a text without, ties half.
3. AUROCs of the first ones are measured again on texts that had no part in the choice, with an interval.
4. The same search is made for other phrases, or for permuted labels: what the best of so many features reaches anyway.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import rankdata

from ato.errors import InputError, SettingsError
from ato.features.concept_texts import OWN_WORD, WITH, ConceptTexts
from ato.features.text_activations import SearchedSAE, TextActivations, TokenizedTexts, text_activations, tokenize
from ato.models.language_model import LanguageModel
from ato.numerics.auroc import auroc, auroc_interval
from ato.numerics.intervals import MIN_DOCUMENTS, Estimate, strata_interval, sure_limits
from ato.numerics.scales import SHARE

TOKENS = ("all", "elsewhere")
"""Tokens that count: all but the first and special ones, or of these only those outside the phrase."""
_CHUNK = 4096
"""Features that are ranked at once."""


@dataclass(frozen=True)
class SearchSettings:
    """How features are searched for.

    Raises:
        SettingsError: a number out of range, or an unknown choice.
    """

    n_found: int = 10
    reduce: str = "max"
    tokens: str = "all"
    n_permutations: int = 100
    """Of the labels of a user's texts; of a phrase the null is that of the other phrases."""
    seed: int = 0
    batch_size: int = 32
    max_tokens: int = 128
    prepend_bos: bool = False

    def __post_init__(self) -> None:
        for name, least in {"n_found": 1, "n_permutations": 0, "batch_size": 1, "max_tokens": 2}.items():
            if getattr(self, name) < least:
                raise SettingsError(f"{name} is {getattr(self, name)}", cure=f"use {least} or more")
        if self.tokens not in TOKENS:
            raise SettingsError(f"unknown tokens {self.tokens!r}", cure=f"choose from {', '.join(TOKENS)}")


@dataclass(frozen=True)
class FoundFeature:
    """A feature with its scores on the texts that measure; None where there is no score."""

    sae: str
    layer: int
    feature_id: int
    auroc_chosen: float
    """On the texts that it was chosen on: too high."""
    auroc: Estimate
    p: float | None
    """Chance that the null's best feature reaches this AUROC, (1 + as good) / (1 + null searches)."""
    share_with: float
    """Of texts with the concept, those on which it is active."""
    share_without: float
    mean_with: float
    """Mean over texts with the concept of its activation on them."""
    mean_without: float
    auroc_elsewhere: float | None
    """Of its activations on tokens outside the phrase; None of texts that do not all name it."""
    share_on_phrase: float | None
    """Of texts with the concept on which it is active, those where it fires most on the phrase itself."""
    auroc_own_words: float | None
    """Against texts with one word of the phrase; None of one word, and of a user's texts."""


@dataclass(frozen=True)
class FeatureSearch:
    """What a search found, with what it stands on."""

    found: list[FoundFeature]
    null: str
    """``other phrases`` or ``permuted labels``."""
    null_aurocs: np.ndarray
    """[searches] AUROC of each null search's best feature, measured as the concept's are."""
    baseline_auroc: float | None
    """Of the one token whose presence tells the texts apart best, chosen and measured on the same halves."""
    n_with: int
    """Texts that measure."""
    n_without: int
    n_with_chosen: int
    """Texts that choose."""
    n_without_chosen: int
    n_features: int
    """Features of all SAEs together."""
    n_cut: int

    @property
    def null_high(self) -> float | None:
        """95th percentile of the null; None without a null."""
        return float(np.quantile(self.null_aurocs, 0.95)) if len(self.null_aurocs) else None


def find_features(
    model: LanguageModel,
    saes: Sequence[SearchedSAE],
    texts: ConceptTexts,
    settings: SearchSettings,
    advance: Callable[[int], None] = lambda n: None,
) -> FeatureSearch:
    """The features of a concept, best first.

    Features that fire on no text with the concept are not ranked: their AUROC is at most 1/2. Of equal AUROCs the first
    is that of the largest difference of means, relative to the feature's largest activation.

    Args:
        model: the model.
        saes: of one site, one or more.
        texts: with and without the concept.
        settings: how.
        advance: told how many more texts were read.

    Raises:
        InputError: no SAE, or a text without a token that counts.
        SettingsError: tokens outside a phrase that the texts do not all name.
        SAEError, LayerError, ModelError: as ``text_activations``.
    """
    if not saes:
        raise InputError("no SAE to search", cure="name one")
    if settings.tokens == "elsewhere" and not texts.has_spans:
        cure = "count all tokens, or give a phrase that every text with the concept has"
        raise SettingsError("a text with the concept does not name it", where=texts.concept, cure=cure)
    run = tokenize(
        model.tokenizer,
        texts.texts,
        texts.spans,
        special_ids=model.special_token_ids,
        prepend_bos=settings.prepend_bos,
        max_tokens=settings.max_tokens,
    )
    read = text_activations(model, saes, run, settings.reduce, batch_size=settings.batch_size, advance=advance)
    tables = [of.elsewhere if settings.tokens == "elsewhere" else of.values for of in read]
    choosing, measuring = texts.split()
    null = _null(tables, texts, settings)
    ranked = _ranked(tables, choosing, settings.n_found)
    measure = partial(_measured, texts=texts, measuring=measuring, null=null)
    found = [measure((saes[i], feature, value), tables[i], read[i]) for i, feature, value in ranked]
    (n_with, n_without), chosen = ([int((labels == x).sum()) for x in (1, 0)] for labels in (measuring, choosing))
    kind = "other phrases" if texts.template is not None else "permuted labels"
    n_features = sum(one.sae.d_sae for one in saes)
    baseline = _token_baseline(run, choosing, measuring)
    return FeatureSearch(found, kind, null, baseline, n_with, n_without, chosen[0], chosen[1], n_features, run.n_cut)


def aurocs(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[k] AUROC of each column, equal values counting half; NaN where a class is empty.

    Args:
        values: [n, k]; rows with NaN are left out.
        labels: [n], 1, 0, or others, which are left out.
    """
    kept = ((labels == 1) | (labels == 0)) & ~np.isnan(values).any(1)
    values, first = values[kept], labels[kept] == 1
    n_first, n_second = int(first.sum()), int((~first).sum())
    if not n_first or not n_second:
        return np.full(values.shape[1], np.nan)
    parts = [rankdata(values[:, i : i + _CHUNK], axis=0)[first].sum(0) for i in range(0, values.shape[1], _CHUNK)]
    won = np.concatenate([*parts, np.zeros(0)]) - n_first * (n_first + 1) / 2
    return won / (n_first * n_second)


def _ranked(tables: Sequence[np.ndarray], labels: np.ndarray, n: int) -> list[tuple[int, int, float]]:
    """(number of the SAE, feature, AUROC) of the first n features by these labels."""
    sae, feature, value, gap = [], [], [], []
    first, second = labels == 1, labels == 0
    for number, table in enumerate(tables):
        columns = np.flatnonzero((np.nan_to_num(table[first]) > 0).any(0))
        own = table[:, columns]
        largest = np.nanmax(own[first | second], axis=0, initial=0)
        sae.append(np.full(len(columns), number))
        feature.append(columns)
        value.append(aurocs(own, labels))
        gap.append((np.nanmean(own[first], axis=0) - np.nanmean(own[second], axis=0)) / largest)
    of, columns, area, apart = (np.concatenate(part) for part in (sae, feature, value, gap))
    order = np.lexsort((columns, of, -apart, -area))[:n]
    return [(int(of[i]), int(columns[i]), float(area[i])) for i in order]


def _null(tables: Sequence[np.ndarray], texts: ConceptTexts, settings: SearchSettings) -> np.ndarray:
    """[searches] measured AUROC of the best feature of each null search; 1/2 where nothing fires."""
    if texts.template is not None:
        splits = [texts.split(int(number)) for number in np.unique(texts.phrase[texts.phrase >= 0])]
    else:
        rng, own = np.random.default_rng(settings.seed), texts.split()
        splits = [(_permuted(own[0], rng), _permuted(own[1], rng)) for _ in range(settings.n_permutations)]
    found = []
    for choosing, measuring in splits:
        best = _ranked(tables, choosing, 1)
        found.append(auroc(tables[best[0][0]][:, best[0][1]], measuring) if best else 0.5)
    return np.array(found)


def _permuted(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels of one half, exchanged among the texts that have one."""
    result, own = labels.copy(), np.flatnonzero(labels >= 0)
    result[own] = labels[rng.permutation(own)]
    return result


def _measured(
    which: tuple[SearchedSAE, int, float],
    table: np.ndarray,
    read: TextActivations,
    *,
    texts: ConceptTexts,
    measuring: np.ndarray,
    null: np.ndarray,
) -> FoundFeature:
    one, feature, chosen = which
    scores, all_tokens, elsewhere = (x[:, feature].astype(np.float64) for x in (table, read.values, read.elsewhere))
    first, second = (scores[measuring == kind] for kind in (1, 0))
    found = _interval(scores, measuring, texts.template)
    area = found.value if found.value is not None else np.nan
    own_words = np.where(measuring == WITH, 1, np.where((texts.label == OWN_WORD) & ~texts.chooses, 0, -1))
    fires = (measuring == 1) & (all_tokens > 0)
    return FoundFeature(
        one.key,
        one.layer,
        feature,
        chosen,
        found,
        (1 + int((null >= area - 1e-12).sum())) / (1 + len(null)) if len(null) and np.isfinite(area) else None,
        float((first > 0).mean()),
        float((second > 0).mean()),
        float(np.nanmean(first)),
        float(np.nanmean(second)),
        _known(auroc(elsewhere, measuring)) if texts.has_spans else None,
        # Where a text has no other token, its largest activation is on the phrase.
        float((all_tokens > np.nan_to_num(elsewhere))[fires].mean()) if texts.has_spans and fires.any() else None,
        _known(auroc(scores, own_words)),
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _interval(scores: np.ndarray, labels: np.ndarray, template: np.ndarray | None) -> Estimate:
    """AUROC with its interval by text, or by template where texts have one: those of a template are alike."""
    if template is None:
        return auroc_interval(scores, labels)
    value, units = auroc(scores, labels), np.unique(template[labels >= 0])
    if not np.isfinite(value) or len(units) < MIN_DOCUMENTS:
        return Estimate(_known(value))
    if value in (0.0, 1.0):
        return Estimate(value, *sure_limits(value, len(units)))
    without = np.array([auroc(scores, np.where(template == unit, -1, labels)) for unit in units])
    return Estimate(value, *strata_interval(value, [without], SHARE))


def _token_baseline(run: TokenizedTexts, choosing: np.ndarray, measuring: np.ndarray) -> float | None:
    """AUROC of the presence of the best token."""
    said = [set(ids[counted].tolist()) for ids, counted in zip(run.token_ids, run.counted)]
    known = sorted(set().union(*(said[i] for i in np.flatnonzero(choosing == 1))))
    present = np.array([[token in tokens for token in known] for tokens in said], dtype=np.float32)
    best = _ranked([present], choosing, 1)
    return _known(auroc(present[:, best[0][1]], measuring)) if best else None
