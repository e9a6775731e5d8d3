"""What SAEs are judged by: the registry of metrics, from which table, page and report take their words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ato.errors import InputError
from ato.numerics.intervals import Estimate

Better = Literal["more", "less", "one", "none"]
"""Where a metric is good: large, small, near 1, or neither (it describes)."""


@dataclass(frozen=True)
class MetricKind:
    """One kind of metric."""

    name: str
    """As tables have it."""
    title: str
    """As pages and reports have it."""
    unit: str
    """Of the value; empty for a number without one."""
    meaning: str
    """One sentence, with the formula."""
    better: Better
    counts: str
    """What ``Metric.n`` counts: tokens, features, documents or words."""
    null: float | None = None
    """What chance, or doing nothing, gives; None where a baseline in the same table says it."""
    range: tuple[float | None, float | None] = (0.0, None)
    """Smallest and largest possible value; None for no limit."""


_SHARE = (0.0, 1.0)

_KINDS = (
    MetricKind(
        "fvu",
        "FVU",
        "",
        "Variance unexplained on held-out tokens: sum |x - x_hat|^2 / sum |x - mean x|^2, the mean of the same tokens.",
        "less",
        "tokens",
        null=1.0,
    ),
    MetricKind(
        "explained_variance",
        "Explained variance",
        "",
        "1 - FVU.",
        "more",
        "tokens",
        null=0.0,
        range=(None, 1.0),
    ),
    MetricKind(
        "innovation_fvu",
        "FVU of the innovation",
        "",
        "Of innovation SAEs: sum |v - v_hat|^2 / sum |v - mean v|^2 of v = y - T x - b; their FVU is that of y, for which T x "
        "counts.",
        "less",
        "tokens",
        null=1.0,
    ),
    MetricKind("l0", "L0", "features a token", "Mean number of active features per token.", "none", "tokens"),
    MetricKind(
        "dead_share",
        "Dead features",
        "share of the features",
        "Share of the features that are active on none of the tokens looked at; more tokens leave fewer.",
        "less",
        "features",
        range=_SHARE,
    ),
    MetricKind(
        "high_frequency_share",
        "High-frequency features",
        "share of the features",
        "Share of the features that are active on more than 10 % of the tokens (or what the setting says).",
        "less",
        "features",
        range=_SHARE,
    ),
    MetricKind(
        "shrinkage",
        "Shrinkage slope",
        "",
        "Least-squares slope of x on x_hat, both less their means, over tokens and dimensions: above 1 reconstructions "
        "are too small, 1 is none.",
        "one",
        "tokens",
        range=(None, None),
    ),
    MetricKind(
        "ce_recovered",
        "Cross-entropy recovered",
        "",
        "(CE zero - CE spliced) / (CE zero - CE clean) of the next token, with x_hat, or zero, in place of x.",
        "more",
        "tokens",
        null=0.0,
        range=(None, None),
    ),
    MetricKind(
        "kl",
        "KL when spliced",
        "nats per token",
        "Mean of KL(clean || spliced) of the next-token distributions, with x_hat in place of x.",
        "less",
        "tokens",
    ),
    MetricKind(
        "kl_recovered",
        "KL recovered",
        "",
        "1 - KL(clean || spliced) / KL(clean || zero).",
        "more",
        "tokens",
        null=0.0,
        range=(None, 1.0),
    ),
    MetricKind(
        "decoder_redundancy",
        "Decoder-cosine redundancy",
        "",
        "Mean over the features of the largest cosine of a decoder row with another one; a duplicate has 1.",
        "less",
        "features",
        range=(-1.0, 1.0),
    ),
    MetricKind(
        "matched_cosine",
        "Agreement between seeds",
        "",
        "Mean cosine of the decoder rows of two dictionaries, matched one to one so that it is largest.",
        "more",
        "features",
        range=(-1.0, 1.0),
    ),
    MetricKind(
        "matched_share",
        "Features found by both seeds",
        "share of the matched features",
        "Share of the matched pairs with a cosine of at least 0.9 (or what the setting says).",
        "more",
        "features",
        range=_SHARE,
    ),
    MetricKind(
        "max_cosine",
        "Largest cosine between seeds",
        "",
        "Mean over the features of one dictionary of the largest cosine with a feature of another one.",
        "more",
        "features",
        range=(-1.0, 1.0),
    ),
    MetricKind(
        "recovery",
        "Recovery of the planted directions",
        "",
        "Mean over the true directions of the largest |cosine| with a decoder row.",
        "more",
        "features",
        range=_SHARE,
    ),
    MetricKind(
        "probe_auroc",
        "k-sparse probe, AUROC",
        "",
        "AUROC on test documents of a logistic regression on the k features whose means differ most on train documents; "
        "a stratum against the rest.",
        "more",
        "documents",
        null=0.5,
        range=_SHARE,
    ),
    MetricKind(
        "probe_accuracy",
        "k-sparse probe, accuracy",
        "share of the documents",
        "Share of the test documents that the probe puts into the right class; always saying the commoner class is the "
        "baseline.",
        "more",
        "documents",
        range=_SHARE,
    ),
    MetricKind(
        "attribution_rank_agreement",
        "Gradients against ablations",
        "",
        "Spearman's correlation over features of minus gradient x activation (or the activation mass, the baseline) with "
        "the loss that ablation adds.",
        "more",
        "features",
        null=0.0,
        range=(-1.0, 1.0),
    ),
    MetricKind(
        "absorption_fraction",
        "Absorption",
        "",
        "Mean over the words of the share of the letter's direction that features other than the letter's own take "
        "over (Till, SAEBench; 0 is none).",
        "less",
        "words",
        range=_SHARE,
    ),
    MetricKind(
        "full_absorption",
        "Full absorption",
        "share of the words",
        "Share of the words on which no feature of the letter fires and one other feature takes its place (Chanin et "
        "al., 2024).",
        "less",
        "words",
        range=_SHARE,
    ),
)

METRICS: Mapping[str, MetricKind] = {kind.name: kind for kind in _KINDS}
"""Every metric of an SAE study, by name, in the order in which tables show them."""


@dataclass(frozen=True)
class Metric:
    """One value of a metric.

    Raises:
        InputError: there is no such metric, or the value is missing and nothing says why.
    """

    name: str
    """One of ``METRICS``."""
    estimate: Estimate
    """Value with its interval (95 %), None where missing."""
    n: int
    """What ``MetricKind.counts`` names, behind the value."""
    n_documents: int | None = None
    """Documents (words, for absorption) that the interval is over; None for what is made of weights alone."""
    detail: str = ""
    """Which of several values of this name it is, such as ``topic, k = 1``."""
    reason: str | None = None
    """Why the value is missing."""

    def __post_init__(self) -> None:
        if self.name not in METRICS:
            raise InputError(f"there is no metric {self.name!r}", cure=f"choose from {', '.join(METRICS)}")
        if self.estimate.value is None and not self.reason:
            raise InputError("a metric without a value needs a reason", where=self.name, cure="say why it is missing")

    @property
    def kind(self) -> MetricKind:
        """What it is."""
        return METRICS[self.name]
