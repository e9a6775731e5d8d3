"""Feature absorption: words on which a letter's own features are silent, since another feature has taken them over.

A feature "begins with s" that does not fire on *short*, whose own feature holds the letter's direction too, is absorbed
(Chanin et al., 2024, "A is for absorption"; the fraction is that of Till in SAEBench). The reference measure differs in
two points: b_dec, which belongs to no feature, is taken off before projections, and projections are on the decoder rows
as they are and not as if they had length 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from string import ascii_lowercase

import numpy as np
import torch

from ato.errors import InputError
from ato.numerics.intervals import MIN_DOCUMENTS, Estimate
from ato.sae_studies.metrics import Metric
from ato.sae_studies.probe_scores import share_interval
from ato.saes.autoencoder import SparseAutoencoder

_ROWS = 256
"""Words that are encoded at a time."""


@dataclass(frozen=True)
class AbsorptionSettings:
    """What counts as absorption; defaults are SAEBench's."""

    min_d_sae: int = 16_000
    """Features below which nothing is measured: a narrow SAE has no room for features of single words."""
    min_parameters: int = 1_000_000_000
    """Parameters of the model below which nothing is measured: smaller models hardly know how words are spelt."""
    max_main: int = 5
    """Features that a letter may be split over."""
    min_f1_gain: float = 0.03
    """F1 on train words that another main feature must add."""
    full_cosine: float = 0.025
    """Cosine with the letter's direction that the one absorbing feature must have."""
    fraction_cosine: float = 0.1
    """The same for features that absorb together."""
    min_proportion: float = 0.4
    """Share of the word's projection that the absorbing features must make up."""
    max_absorbing: int = 3
    """Features that may absorb together."""
    min_words: int = MIN_DOCUMENTS
    """Words of a letter that train and test must have; letters with fewer are left out."""
    c: float = 1.0
    """Inverse penalty of the probes."""


@dataclass(frozen=True)
class WordAbsorption:
    """Absorption on each of n words."""

    fraction: np.ndarray
    """[n] in [0, 1], share of the direction that other features take over."""
    full: np.ndarray
    """[n] bool, no main feature fires and one other feature takes its place."""


@dataclass(frozen=True)
class LetterAbsorption:
    """Absorption of one letter's features."""

    letter: str
    main: tuple[int, ...]
    """Its own features."""
    f1: float
    """Of these on train words."""
    n_words: int
    """Test words of the letter on which the probe is right."""
    fraction: float | None
    """Mean over these words; None without one."""
    full: float | None


@dataclass(frozen=True)
class Absorption:
    """Absorption of first letters, over all words; None where it has no meaning."""

    fraction: Estimate
    full: Estimate
    letters: tuple[LetterAbsorption, ...]
    n_words: int
    reason: str | None = None
    """Why nothing is measured."""

    def metrics(self) -> list[Metric]:
        """As rows of the comparison; a word stands for a document."""
        pairs = (("absorption_fraction", self.fraction), ("full_absorption", self.full))
        return [Metric(name, value, self.n_words, self.n_words, "first letters", self.reason) for name, value in pairs]


def absorption_reason(d_sae: int, n_parameters: int, settings: AbsorptionSettings | None = None) -> str | None:
    """Why absorption has no meaning for an SAE and its model; None where it has one.

    Args:
        d_sae: features of the SAE.
        n_parameters: parameters of the model.
        settings: the limits.
    """
    settings = settings or AbsorptionSettings()
    reasons = []
    if d_sae < settings.min_d_sae:
        reasons.append(f"narrow SAE (d_sae = {d_sae:,} < {settings.min_d_sae:,})")
    if n_parameters < settings.min_parameters:
        reasons.append(f"model of {n_parameters:,} parameters, below {settings.min_parameters:,}")
    return "; ".join(reasons) or None


def word_absorption(
    sae: SparseAutoencoder,
    x: torch.Tensor,
    direction: torch.Tensor,
    main: Sequence[int],
    settings: AbsorptionSettings | None = None,
) -> WordAbsorption:
    """How far other features take over a direction from its main features, word by word.

    With p the unit direction, a word's projection is (x - b_dec) . p and that of feature j is a_j d_j . p.

    Args:
        sae: the SAE.
        x: [n, d] residuals of words that have the direction.
        direction: [d], of any length.
        main: features that usually stand for it.
        settings: what counts as absorption.
    """
    settings, p = settings or AbsorptionSettings(), torch.nn.functional.normalize(direction.to(sae.W_dec), dim=0)
    projections, cosines = sae.W_dec @ p, sae.decoder_directions @ p
    others = torch.ones(sae.d_sae, dtype=torch.bool, device=p.device)
    others[list(main)] = False
    fractions, full = [], []
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS].to(sae.W_dec)
        activations = sae.encode(rows)
        own, total = activations * projections, (rows - sae.b_dec) @ p
        of_main = own[:, ~others].sum(1)
        absorbing = torch.where(others & (cosines >= settings.fraction_cosine), own.clamp_min(0), 0.0)
        absorbed = absorbing.topk(min(settings.max_absorbing, sae.d_sae), dim=1).values.sum(1)
        shared = torch.minimum(absorbed, total - of_main)
        fraction = torch.where(of_main <= 0, 1.0, shared / (shared + of_main))
        measured = (total > 0) & (of_main < total) & (absorbed >= settings.min_proportion * total)
        fractions.append(torch.where(measured, fraction.clamp(0, 1), 0.0))
        largest, feature = own.max(1)
        silent = ~(activations[:, ~others] > 0).any(1)
        aligned = cosines[feature] >= settings.full_cosine
        full.append(silent & aligned & (total > 0) & (largest >= settings.min_proportion * total))
    if not fractions:
        return WordAbsorption(np.zeros(0), np.zeros(0, dtype=bool))
    return WordAbsorption(torch.cat(fractions).double().cpu().numpy(), torch.cat(full).cpu().numpy())


def first_letter_absorption(
    sae: SparseAutoencoder,
    x: torch.Tensor,
    letters: np.ndarray,
    train: np.ndarray,
    n_parameters: int,
    settings: AbsorptionSettings | None = None,
) -> Absorption:
    """Absorption of the features of first letters.

    For each letter a logistic regression on residuals of train words gives the direction, and the features whose means
    differ most become its main features, one after the other while F1 grows by ``min_f1_gain``. Judged are test words
    of the letter on which the probe is right.

    Args:
        sae: the SAE.
        x: [n, d] residuals of words, see ``first_letters.word_residuals``.
        letters: [n] codes of first letters, see ``first_letters.first_letter_words``.
        train: [n] bool; the other words are test words.
        n_parameters: parameters of the model.
        settings: what counts as absorption.

    Raises:
        InputError: shapes that do not fit.
    """
    settings, letters, train = settings or AbsorptionSettings(), np.asarray(letters), np.asarray(train, dtype=bool)
    if len(x) != len(letters) or train.shape != letters.shape:
        what = f"{len(x)} residuals, {len(letters)} letters and train of shape {train.shape}"
        raise InputError(what, cure="pass one of each a word")
    nothing = Estimate(None)
    if reason := absorption_reason(sae.d_sae, n_parameters, settings):
        return Absorption(nothing, nothing, (), 0, reason)
    found, words = [], []
    for code in np.unique(letters):
        y = letters == code
        if min(int((side & split).sum()) for side in (y, ~y) for split in (train, ~train)) < settings.min_words:
            continue
        direction, right = _probe(x, y, train, settings)
        main, f1 = _main_features(sae, x[torch.from_numpy(train)], y[train], settings)
        judged = torch.from_numpy(y & ~train & right)
        own = word_absorption(sae, x[judged], direction, main, settings)
        n = len(own.full)
        values = (float(own.fraction.mean()), float(own.full.mean())) if n else (None, None)
        found.append(LetterAbsorption(ascii_lowercase[int(code)], main, f1, n, *values))
        words.append(own)
    n = sum(len(own.full) for own in words)
    if not n:
        reason = f"no letter has {settings.min_words} words in train and test on which its probe is right"
        return Absorption(nothing, nothing, tuple(found), 0, reason)
    fraction, full = (np.concatenate(parts).astype(np.float64) for parts in zip(*((o.fraction, o.full) for o in words)))
    return Absorption(_mean(fraction), _mean(full), tuple(found), n)


def _mean(values: np.ndarray) -> Estimate:
    """Mean of shares, with its interval by word."""
    n, value = len(values), float(values.mean())
    return share_interval(value, (values.sum() - values) / (n - 1), n) if n > 1 else Estimate(value)


def _probe(
    x: torch.Tensor, y: np.ndarray, train: np.ndarray, settings: AbsorptionSettings
) -> tuple[torch.Tensor, np.ndarray]:
    """Direction [d] of a logistic regression on train words, and on which words [n] it is right."""
    from sklearn.linear_model import LogisticRegression

    rows = x.double().cpu().numpy()
    mean, scale = rows[train].mean(0), rows[train].std(0)
    scale[scale <= 1e-12 * np.abs(mean)] = np.inf  # a constant dimension says nothing
    standardised = (rows - mean) / scale
    regression = LogisticRegression(C=settings.c, max_iter=1000).fit(standardised[train], y[train])
    return torch.from_numpy(regression.coef_[0] / scale).float(), regression.predict(standardised) == y


def _main_features(
    sae: SparseAutoencoder, x: torch.Tensor, y: np.ndarray, settings: AbsorptionSettings
) -> tuple[tuple[int, ...], float]:
    """The letter's own features, from train words alone, and the F1 that they reach there."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    inside = torch.from_numpy(y)
    sums = [torch.zeros(sae.d_sae, dtype=torch.float64) for _ in range(2)]
    for start in range(0, len(x), _ROWS):
        activations, own = sae.encode(x[start : start + _ROWS]).double().cpu(), inside[start : start + _ROWS]
        for side, total in zip((own, ~own), sums, strict=True):
            total += activations[side].sum(0)
    difference = sums[0] / inside.sum() - sums[1] / (~inside).sum()
    ranked = difference.argsort(descending=True, stable=True)[: settings.max_main].tolist()
    columns = torch.cat([sae.encode(x[i : i + _ROWS])[:, ranked].cpu() for i in range(0, len(x), _ROWS)])
    values = columns.double().numpy()
    values /= np.maximum(values.std(0), 1e-12)
    scores = []
    for k in range(1, len(ranked) + 1):
        regression = LogisticRegression(C=settings.c, class_weight="balanced").fit(values[:, :k], y)
        scores.append(float(f1_score(y, regression.predict(values[:, :k]))))
    kept = 1
    for before, after in pairwise(scores):
        if after - before < settings.min_f1_gain:
            break
        kept += 1
    return tuple(ranked[:kept]), scores[kept - 1]
