"""A metric as a row of the table ``sae_quality``."""

from typing import Any

from ato.numerics.intervals import Estimate, number_or_none
from ato.sae_studies.metrics import Metric


def metric_row(metric: Metric) -> dict[str, Any]:
    """A row of ``sae_quality`` without its keys."""
    return {
        "metric": metric.name,
        "detail": metric.detail,
        **_limits(metric.estimate),
        "n": metric.n,
        "n_documents": metric.n_documents,
        "reason": metric.reason,
    }


def _limits(estimate: Estimate) -> dict[str, float | None]:
    ends = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: None if end is None else number_or_none(end) for name, end in ends.items()}
