"""Rows of the comparison of SAEs: what splicing costs as metrics, and each metric's spread over seeds."""

from collections.abc import Mapping, Sequence

from ato.sae_studies.metrics import METRICS, Metric
from ato.sae_studies.seeds import SeedSpread, seed_spread
from ato.saes.splicing import CERecovered

MetricKey = tuple[str, str]
"""Name and detail of a metric."""


def splice_metrics(recovered: CERecovered) -> list[Metric]:
    """What an SAE recovers when it is spliced in, as rows of the comparison; KL only where it was asked for."""
    no_token = None if recovered.n_tokens else "no token was predicted"
    reasons = {
        "ce_recovered": "zeroing the residual does not raise the loss",
        "kl": "the KL divergence was not asked for",
        "kl_recovered": "zeroing the residual changes no prediction",
    }
    if recovered.kl.value is None:
        reasons["kl_recovered"] = reasons["kl"]
    rows = []
    for name, reason in reasons.items():
        estimate = getattr(recovered, name)
        missing = None if estimate.value is not None else no_token or reason
        rows.append(Metric(name, estimate, recovered.n_tokens, recovered.n_documents, reason=missing))
    return rows


def spreads_over_seeds(seeds: Sequence[Sequence[Metric]]) -> Mapping[MetricKey, SeedSpread]:
    """Mean and spread of every metric over the seeds of one setting, in the order of ``METRICS``.

    Args:
        seeds: the metrics of each seed; one that a seed has not counts as missing there.
    """
    tables = [{(metric.name, metric.detail): metric.estimate.value for metric in metrics} for metrics in seeds]
    keys = sorted({key: None for table in tables for key in table}, key=lambda key: list(METRICS).index(key[0]))
    return {key: seed_spread([table.get(key) for table in tables]) for key in keys}
