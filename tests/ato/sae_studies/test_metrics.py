"""The registry of metrics: every value names its kind, and a missing one says why."""

import pytest

from ato.errors import InputError
from ato.numerics.intervals import Estimate
from ato.sae_studies.metrics import METRICS, Metric


def test_every_kind_has_words_and_a_range_that_holds_its_null():
    for name, kind in METRICS.items():
        assert name == kind.name
        assert kind.title
        assert kind.meaning.endswith(".")
        assert kind.counts in {"tokens", "features", "documents", "words"}
        low, high = kind.range
        if kind.null is not None:
            assert low is None or low <= kind.null
            assert high is None or kind.null <= high
    assert len({kind.title for kind in METRICS.values()}) == len(METRICS)


def test_a_metric_of_another_name_or_missing_without_a_reason_is_refused():
    with pytest.raises(InputError, match=r"no metric 'scr'.*choose from fvu"):
        Metric("scr", Estimate(0.5), 1)
    with pytest.raises(InputError, match="needs a reason"):
        Metric("fvu", Estimate(None), 0)
    missing = Metric("fvu", Estimate(None), 0, reason="no token")
    assert missing.kind.title == "FVU"
