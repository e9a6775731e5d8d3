"""What splicing costs becomes rows of the comparison."""

from ato.numerics.intervals import Estimate
from ato.sae_studies.comparison import splice_metrics
from ato.saes.loss_recovered import CERecovered


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
