"""Rows of tables lead to their place in the text."""

import pytest

from dashboards.ui.row_places import has_places, place_of


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"sequence_id": 3, "position": 7, "collection": "c"}, {"sequence": 3, "position": 7, "collection": "c"}),
        ({"sequence_id": 0, "sae": "s", "feature_id": 0}, {"sequence": 0, "features": "s/0"}),
        ({"max_sequence_id": 2, "max_position": 5}, {"sequence": 2, "position": 5}),
        ({"document_id": "d", "document": 1}, {"document": "d"}),
        ({"sequence_id": 4, "document_id": "d"}, {"sequence": 4, "document": "d"}),
        ({"sequence_id": None, "document_id": None}, None),
        ({"position": 5}, None),
    ],
)
def test_a_row_is_at_its_sequence_and_position_else_at_its_document(row, place):
    assert place_of(row) == place
    assert has_places(list(row)) == (place is not None or "sequence_id" in row)
