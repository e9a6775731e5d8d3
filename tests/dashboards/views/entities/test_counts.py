"""Counts of entities, on planted ones."""

from tests.dashboards.opened_pages import panel_starting, read_page
from tests.warehouse.entity_rows import ATTRIBUTES, N_INVENTED, N_REAL


def test_planted_entities_are_counted_by_type_and_label(study):
    panel = panel_starting(read_page("entities"), "What the model knows")
    counted = {(row["entity_type"], row["label"]): row for row in panel.rows.iter_rows(named=True)}
    for kind in ATTRIBUTES:
        assert counted[kind, "invented"]["n_entities"] == N_INVENTED
        for label in ("known", "between", "unknown"):
            row = counted[kind, label]
            assert row["n_entities"] == N_REAL // 3
            assert (row["n_train"], row["n_validation"], row["n_test"]) == (3, 3, 3)
    assert (counted["city", "known"]["share_correct"], counted["city", "unknown"]["share_correct"]) == (1, 0)
    assert "each attribute right" in panel.note
    assert "entity_set-1" in panel.note
