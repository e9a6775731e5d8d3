"""What interventions cost on average, against plain means and the interval of one measure at a time."""

from dataclasses import astuple

import numpy as np
import pytest

from ato.causal.effects import causal_effects
from ato.causal.interventions import NO_INTERVENTION, Intervention
from ato.causal.losses import CausalLosses, EditLosses
from ato.numerics.intervals import Estimate, document_interval


def losses_of(document: np.ndarray, edited: np.ndarray, seed: int = 0) -> tuple[CausalLosses, Intervention]:
    rng = np.random.default_rng(seed)
    n, edit = len(document), Intervention("zero", "active", None, 3)
    clean, onwards, after, kl = rng.normal(3, 0.3, n), rng.normal(3, 0.3, n), rng.normal(4, 0.3, n), rng.random(n)
    gone = np.where(edited, 0, np.nan)
    own = EditLosses(
        edited.astype(np.int64), np.where(edited, rng.normal(4, 0.3, n), clean), after + gone, onwards + gone, kl + gone
    )
    return CausalLosses(np.arange(n), document, clean, ({edit: own},)), edit


def test_effects_are_paired_means_over_edited_sequences_with_intervals_by_document():
    document = np.repeat(np.arange(6), [3, 1, 4, 2, 5, 3]) * 11
    edited = np.random.default_rng(1).random(len(document)) < 0.8
    losses, edit = losses_of(document, edited)
    own = losses.edits[0][edit]
    found = causal_effects(losses.with_unedited(0), losses.log_ppl, document)
    truth = {
        "log_ppl": own.log_ppl,
        "delta_log_ppl": own.log_ppl - losses.log_ppl,
        "delta_edited_onwards": own.log_ppl_edited_onwards - own.clean_edited_onwards,
        "kl": own.kl,
    }
    assert (found[edit].n_sequences, found[edit].n_documents) == (edited.sum(), len(set(document[edited])))
    numbers = np.unique(document)
    for name, values in truth.items():
        sums = np.array([[values[edited & (document == k)].sum(), (edited & (document == k)).sum()] for k in numbers])
        expected = document_interval(sums, lambda s: s[:, 0] / s[:, 1], sums[:, 1]).item()
        assert getattr(found[edit], name).value == pytest.approx(values[edited].mean())
        assert astuple(getattr(found[edit], name)) == pytest.approx(astuple(expected))


def test_the_unedited_model_has_a_loss_and_no_differences():
    losses, _ = losses_of(np.arange(5), np.ones(5, dtype=bool))
    none = causal_effects(losses.with_unedited(0), losses.log_ppl, losses.document)[NO_INTERVENTION]
    assert none.log_ppl.value == pytest.approx(losses.log_ppl.mean())
    assert none.n_sequences == 5
    assert none.delta_log_ppl == none.kl == none.delta_edited_onwards == Estimate(None)


def test_one_document_gives_no_interval_and_nothing_edited_no_number():
    losses, edit = losses_of(np.array([4, 4, 7]), np.array([True, True, False]))
    found = causal_effects(losses.with_unedited(0), losses.log_ppl, losses.document)[edit]
    assert (found.n_sequences, found.n_documents) == (2, 1)
    assert found.delta_log_ppl.value is not None
    assert found.delta_log_ppl == Estimate(found.delta_log_ppl.value)
    losses, edit = losses_of(np.array([4, 4, 7]), np.zeros(3, dtype=bool))
    found = causal_effects(losses.with_unedited(0), losses.log_ppl, losses.document)[edit]
    assert found.n_sequences == 0
    assert found.log_ppl == found.delta_log_ppl == found.kl == Estimate(None)
