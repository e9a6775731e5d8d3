"""Interventions on planted changes."""

import pytest

from tests.dashboards.opened_pages import messages, open_page, panel_starting
from tests.warehouse.entity_rows import CHANGES, CONTROL_SD


def test_changes_stand_with_the_band_of_their_controls(study):
    rows = panel_starting(open_page("entities", outcome="correct"), "Interventions").rows
    found = {(r["label"], r["intervention"], r["direction"]): r for r in rows.iter_rows(named=True)}
    assert len(found) == 2 * len(CHANGES)
    for edit, changes in CHANGES.items():
        row = found["known", *edit]
        assert row["change"] == changes["correct"]
        assert (row["control_low"], row["control_high"]) == pytest.approx(
            (0.01 - 2 * CONTROL_SD, 0.01 + 2 * CONTROL_SD)
        )
    assert [r["beyond_controls"] for r in found.values()].count(True) == 2


def test_more_refusals_with_fewer_right_answers_are_called_damage(study):
    (line,) = (said for said in messages(open_page("entities")) if said.startswith("Damage"))
    assert "steer unknown at entity_last on known entities" in line
    assert "steer known" not in line
