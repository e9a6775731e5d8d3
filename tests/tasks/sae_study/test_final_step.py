"""The step that an SAE of a study is of."""

from tasks.sae_study.weights import final_step, snapshot_steps


def row(step: int, fvu: float | None) -> dict:
    return {"step": step, "fvu_held_out": fvu}


def test_an_sae_is_of_the_last_step_unless_the_held_out_fvu_was_lowest_before():
    assert final_step([row(1, None), row(8, None)]) == 8
    assert final_step([row(1, None), row(4, 0.3), row(6, 0.2), row(8, 0.25)]) == 6


def test_snapshots_rise_in_equal_ratios_to_the_last_step_and_none_is_taken_twice():
    assert snapshot_steps(1000, 4) == [1, 10, 100, 1000]
    assert snapshot_steps(3, 8) == [1, 2, 3]
    assert snapshot_steps(5, 1) == [1, 5]
    assert snapshot_steps(5, 0) == []
