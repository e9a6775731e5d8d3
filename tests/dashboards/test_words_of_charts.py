"""What a pointer or a finger on a chart is told, in the dashboard and in the published site: words, not names of columns."""

from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.site.declarations import described
from dashboards.site.pages import pages
from dashboards.site.tables import known_tables
from tests.dashboards.opened_pages import OPENINGS, chart_specs, read_page
from tests.tasks.reported_study import SAES
from warehouse.catalog.catalog import connect

LABELLED = {"sae": SAES[4], "feature_id": "0"}
MORE = {
    "a labelled feature": ("features", LABELLED),
    "its label": ("features", LABELLED | {"part": "What its label rests on"}),
    "two features": ("compare", {"left": f"feature:{SAES[4]}/1", "right": f"feature:{SAES[6]}/2"}),
    "two operators": ("compare", {"left": "operator:ridge-3-6", "right": "operator:identity-3-6"}),
    "two collections": ("compare", {"left": "collection:tiny-0123abcd", "right": "collection:tiny-0123abcd"}),
    "two graphs": ("compare", {"left": "graph:capital/attribution", "right": "graph:river/attribution"}),
}


def raw_names(part: Any) -> Iterator[str]:
    """What tooltips within a chart are titled by, where it is the name of a column."""
    if isinstance(part, list):
        for item in part:
            yield from raw_names(item)
    elif isinstance(part, dict):
        told = part.get("tooltip", [])
        for channel in told if isinstance(told, list) else [told]:
            if isinstance(channel, dict) and "_" in (title := str(channel.get("title", channel.get("field", "")))):
                yield title
        for item in part.values():
            yield from raw_names(item)


@pytest.mark.parametrize("name", [*(name for name in OPENINGS if name != "sql_bench"), *MORE])
def test_no_tooltip_of_the_dashboard_is_titled_by_a_column(study, name):
    path, about = (OPENINGS | MORE)[name]
    assert not set(raw_names(chart_specs(read_page(path, **about))))


def test_no_tooltip_of_the_site_is_titled_by_a_column(study):
    with connect() as connection:
        published = [described(page) for page in pages([*known_tables(connection), "example_texts"], True)]
    assert not set(raw_names(published))
