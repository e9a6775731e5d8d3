"""Addresses that nobody meant are answered with a page and a line, never with an exception."""

import pytest

from dashboards.ui.address import whole
from tests.dashboards.opened_pages import read_page
from tests.tasks.reported_study import SAES
from tests.warehouse.neuron_rows import NEURONS

ENDLESS = "9" * 5000
"""More digits than Python reads as a number."""


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("features", {"sae": SAES[4], "feature_id": ENDLESS}),
        ("features", {"sae": NEURONS, "feature_id": ENDLESS}),
        ("features", {"surprise": ENDLESS}),
        ("features", {"search": f"4/{ENDLESS}"}),
        ("fate", {"sae": SAES[4], "feature_id": ENDLESS}),
        ("reader", {"sequence": ENDLESS}),
        ("reader", {"document": "0", "sequence": "0", "position": ENDLESS}),
        ("reader", {"document": "0", "part": "9" * 18}),
        ("reader", {"document": "0", "features": f"4/{ENDLESS}"}),
        ("compare", {"left": f"feature:4/{ENDLESS}", "right": "6/1"}),
    ],
)
def test_a_number_without_end_opens_a_page(study, page, address):
    assert not read_page(page, **address).exception


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), (" 0 ", 0), ("-1", None), ("1e5", None), ("", None), (None, None), (ENDLESS, None)]
)
def test_an_address_says_a_whole_number_or_none(text, number):
    assert whole(text) == number
