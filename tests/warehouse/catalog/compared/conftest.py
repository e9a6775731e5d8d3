"""The planted pairs, asked as commands ask."""

from functools import partial

import pytest

from tests.warehouse.catalog.compared.planted import build
from tests.warehouse.small_warehouse import COLLECTION
from warehouse.catalog.catalog import rows
from warehouse.catalog.compared.comparisons import PARTS
from warehouse.catalog.compared.sides import fill, pair


@pytest.fixture(scope="session")
def ask(tmp_path_factory):
    """Gives the rows of a statement on the planted warehouse."""
    return partial(rows, build(tmp_path_factory.mktemp("planted")))


@pytest.fixture(scope="session")
def compared(ask):
    """Gives the rows of each part of a comparison by title; of differences by quantity."""

    def compare(left: str, right: str):
        one, other = pair(left, right, COLLECTION, ask)
        found = {part.title: ask(fill(part.sql, one, other)) for part in PARTS[one.kind]}
        return found | {"Differences": {row["quantity"]: row for row in found["Differences"]}}

    return compare
