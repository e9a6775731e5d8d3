"""Transport against its rivals: paired means by document, the study's average, and an exact p."""

from dataclasses import astuple
from itertools import product

import numpy as np
import pytest

from ato.causal.differences import Comparison, paired_differences, sign_flip_p
from ato.causal.intervention_names import RIVALS, STUDY_SETS
from ato.causal.interventions import Intervention
from ato.causal.losses import EditLosses
from ato.numerics.intervals import document_interval


def losses_of(log_ppl: np.ndarray) -> EditLosses:
    gone = np.where(np.isfinite(log_ppl), 0, np.nan)
    return EditLosses(
        np.isfinite(log_ppl).astype(int), np.where(gone == 0, log_ppl, 3.0), log_ppl + 1, log_ppl, log_ppl / 2
    )


@pytest.fixture(scope="module")
def text():
    """Documents of 24 sequences, and losses of two source layers whose difference is far below their spread."""
    rng = np.random.default_rng(0)
    document, base = np.repeat(np.arange(8), 3), rng.normal(3, 1, 24)
    edits = {
        Intervention("transport", positions, source): losses_of(base + 0.01 * source + rng.normal(0, 0.001, 24))
        for source, positions in product((1, 2), STUDY_SETS)
    }
    edits |= {Intervention("zero", positions): losses_of(base + 0.5) for positions in STUDY_SETS}
    edits |= {
        Intervention("identity", positions, 1): losses_of(base + 0.03 + rng.normal(0, 0.001, 24))
        for positions in STUDY_SETS
    }
    return document, edits


def test_differences_are_paired_so_that_small_ones_are_told_from_zero_and_identity_comes_first(text):
    document, edits = text
    found = paired_differences(edits, 1, document)
    assert [c.rival for c in found if c.position_set == STUDY_SETS[0]] == ["identity", "zero"]
    own, other = (edits[Intervention(name, STUDY_SETS[0], 1)].log_ppl for name in ("transport", "identity"))
    sums = np.array([[(own - other)[document == k].sum(), 3] for k in range(8)])
    expected = document_interval(sums, lambda s: s[:, 0] / s[:, 1], sums[:, 1]).item()
    first = found[Comparison("identity", STUDY_SETS[0])]
    assert astuple(first.log_ppl) == pytest.approx(astuple(expected))
    assert first.log_ppl.high < 0
    assert (first.n_sequences, first.n_documents, first.p) == (24, 8, 2 / 2**8)
    assert found[Comparison("zero", STUDY_SETS[0])].kl.value == pytest.approx(-0.245, abs=1e-3)


def test_the_average_of_the_studys_sets_has_the_interval_of_the_average(text):
    document, edits = text
    found = paired_differences(edits, 1, document)
    average = found[Comparison("identity", "study")].log_ppl
    sets = [found[Comparison("identity", positions)].log_ppl for positions in STUDY_SETS]
    assert average.value == pytest.approx(np.mean([of.value for of in sets]))
    assert average.high - average.low < 0.8 * np.mean([of.high - of.low for of in sets])


def test_what_has_no_rival_or_no_transport_gives_no_difference(text):
    document, edits = text
    assert {c.rival for c in paired_differences(edits, 2, document)} == {"zero"}
    assert paired_differences({e: x for e, x in edits.items() if e.name != "transport"}, 1, document) == {}


def test_only_sequences_that_both_changed_count(text):
    document, _ = text
    changed = np.where(document < 5, 3.0, np.nan)
    edits = {
        Intervention("feature_transport", "active", 1, 7): losses_of(changed),
        Intervention("feature_zero", "active", None, 7): losses_of(np.full(24, 3.5)),
    }
    (found,) = paired_differences(edits, 1, document).values()
    assert (found.n_sequences, found.n_documents, found.log_ppl.value) == (15, 5, -0.5)


def test_p_is_the_share_of_sign_patterns_as_far_from_zero():
    sums = np.array([0.3, -0.1, 0.4, 0.2, 0.5])
    totals = [abs(sum(s * x for s, x in zip(signs, sums))) for signs in product((1, -1), repeat=5)]
    assert sign_flip_p(sums) == np.mean(np.array(totals) >= sums.sum() - 1e-9)
    assert sign_flip_p(np.ones(5)) == 2 / 2**5
    assert sign_flip_p(np.array([1.0])) is None


def test_p_is_uniform_where_there_is_no_difference_and_small_where_there_is():
    rng = np.random.default_rng(1)
    null = [sign_flip_p(rng.normal(size=10)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(null) <= 0.05) < 0.08
    assert sign_flip_p(rng.normal(1, 0.5, 40)) <= 2e-4


def test_every_rival_is_an_intervention():
    assert set(RIVALS) == {"identity", "mean", "bias", "random_rotation", "zero"}
