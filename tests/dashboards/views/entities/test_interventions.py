"""Interventions on planted changes."""

import pytest

from tests.dashboards.opened_pages import messages, panel_starting, read_page
from tests.warehouse.entity_rows import CHANGES, CONTROL_SD


def test_changes_stand_with_the_band_of_their_controls(study):
    rows = panel_starting(read_page("entities", outcome="correct"), "Interventions").rows
    found = {(r["label"], r["intervention"], r["direction"]): r for r in rows.iter_rows(named=True)}
    assert len(found) == 2 * len(CHANGES)
    for edit, changes in CHANGES.items():
        row = found["known", *edit]
        assert row["change"] == changes["correct"]
        assert (row["control_low"], row["control_high"]) == pytest.approx(
            (0.01 - 2 * CONTROL_SD, 0.01 + 2 * CONTROL_SD)
        )
    assert [r["beyond_controls"] for r in found.values()].count(True) == 2


def test_the_panel_says_which_set_was_edited_where_and_against_how_many_draws(study):
    note = panel_starting(read_page("entities"), "Interventions").note
    assert "Up to 6 test entities a class of `entity_set-1`; 20 random draws; edited at entity last." in note


def test_outcomes_that_were_not_measured_are_not_offered(study):
    (offered,) = (field for field in read_page("entities").button_group if field.key == "outcome")
    assert offered.options == ["correct", "wrong", "abstain", "self report"]


def test_more_refusals_with_fewer_right_answers_are_called_damage(study):
    (line,) = (said for said in messages(read_page("entities")) if said.startswith("Damage"))
    assert "steer unknown: layer 6, feature 1 on known entities" in line
    assert "steer known" not in line
