"""The sliding window counts what a list of all batches counts, forgets what is old, and survives a stop."""

import pytest
import torch

from ato.saes.training.activity import PARTS, Activity
from ato.saes.training.schedule import Schedule

BATCH, D_SAE = 10, 6


def drawn(n: int) -> list[torch.Tensor]:
    """Counts a step: feature 0 always fires, 1 never, 2 in the first half only, 3 to 5 now and then."""
    generator = torch.Generator().manual_seed(0)
    steps = []
    for step in range(n):
        counts = torch.randint(0, 2, (D_SAE,), generator=generator)
        counts[0], counts[1], counts[2] = BATCH, 0, BATCH if step < n // 2 else 0
        steps.append(counts)
    return steps


def test_without_a_threshold_a_feature_is_dead_that_was_silent_for_longer_than_the_window():
    activity = Activity(D_SAE, Schedule(100, BATCH, 1e-3, 50))
    for step, counts in enumerate(drawn(40), start=1):
        activity.update(counts)
        assert activity.dead.tolist()[:3] == [False, step > 5, step > 25]


@pytest.mark.parametrize("dead_after", [10, 30, 80, 200])
@pytest.mark.parametrize("threshold", [0.001, 0.05, 0.3])
def test_with_a_threshold_the_rate_is_that_of_the_last_parts(dead_after, threshold):
    schedule = Schedule(200, BATCH, 1e-3, dead_after, dead_threshold=threshold)
    activity, steps = Activity(D_SAE, schedule), drawn(120)
    n_parts = min(PARTS, schedule.dead_steps)
    part = -(-schedule.dead_steps // n_parts)
    for done in range(1, len(steps) + 1):
        activity.update(steps[done - 1])
        first = max(0, (done - 1) // part - n_parts + 1) * part
        window = torch.stack(steps[first:done]).sum(0)
        n_tokens = ((done - 1) % part + 1 + (n_parts - 1) * part) * BATCH
        expected = (window < threshold * n_tokens) & (done >= n_parts * part)
        assert torch.equal(activity.dead, expected), done


def test_a_feature_that_starts_anew_is_watched_for_a_whole_window_before_it_is_dead():
    schedule = Schedule(200, BATCH, 1e-3, 80, dead_threshold=0.01)
    activity = Activity(D_SAE, schedule)
    for step, counts in enumerate(drawn(60), start=1):
        activity.update(counts)
        if step == 20:
            assert activity.dead[1]
            activity.forget(torch.tensor([1]))
        assert bool(activity.dead[1]) is (8 <= step < 20 or step >= 28)


def test_it_goes_on_where_its_state_was_taken():
    schedule = Schedule(200, BATCH, 1e-3, 80, dead_threshold=0.3)
    whole, steps = Activity(D_SAE, schedule), drawn(50)
    for counts in steps[:23]:
        whole.update(counts)
    again = Activity(D_SAE, schedule)
    again.restore({name: value.clone() for name, value in whole.state().items()})
    for counts in steps[23:]:
        whole.update(counts)
        again.update(counts)
        assert torch.equal(whole.dead, again.dead)
