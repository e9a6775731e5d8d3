"""Rows of the comparison: what splicing costs, and the spread of every metric over seeds."""

import pytest

from ato.numerics.intervals import Estimate
from ato.sae_studies.comparison import splice_metrics, spreads_over_seeds
from ato.sae_studies.metrics import Metric
from ato.saes.splicing import CERecovered


def test_what_splicing_recovers_becomes_rows_and_what_is_missing_says_why():
    known = CERecovered(Estimate(0.9), 2, 2.1, 3, 100, 7, Estimate(0.2), Estimate(0.8))
    rows = {metric.name: metric for metric in splice_metrics(known)}
    assert {name: metric.estimate.value for name, metric in rows.items()} == {
        "ce_recovered": 0.9,
        "kl": 0.2,
        "kl_recovered": 0.8,
    }
    assert {(metric.n, metric.n_documents, metric.reason) for metric in rows.values()} == {(100, 7, None)}
    plain = {metric.name: metric.reason for metric in splice_metrics(CERecovered(Estimate(None), 2, 2, 2, 100, 7))}
    assert plain["ce_recovered"] == "zeroing the residual does not raise the loss"
    assert plain["kl"] == plain["kl_recovered"] == "the KL divergence was not asked for"
    unchanged = CERecovered(Estimate(None), 2, 2, 2, 100, 7, Estimate(0.0))
    assert splice_metrics(unchanged)[2].reason == "zeroing the residual changes no prediction"
    assert {metric.reason for metric in splice_metrics(CERecovered(Estimate(None), 0, 0, 0))} == {
        "no token was predicted"
    }


def test_every_metric_has_its_spread_over_seeds_and_missing_values_are_counted():
    def seed(fvu: float, auroc: float | None) -> list[Metric]:
        probe = Metric("probe_auroc", Estimate(auroc), 9, 9, "topic, k = 1", None if auroc else "too few")
        return [probe, Metric("fvu", Estimate(fvu), 100, 5)]

    found = spreads_over_seeds([seed(0.2, 0.7), seed(0.4, None), seed(0.3, 0.9)])
    assert list(found) == [("fvu", ""), ("probe_auroc", "topic, k = 1")]
    assert found["fvu", ""].mean == pytest.approx(0.3)
    assert found["fvu", ""].sd == pytest.approx(0.1)
    of_probe = found["probe_auroc", "topic, k = 1"]
    assert (of_probe.n, of_probe.n_missing, of_probe.mean) == (2, 1, pytest.approx(0.8))
    assert spreads_over_seeds([]) == {}
