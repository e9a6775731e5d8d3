"""docs/tables.md is the page that the declarations give."""

from pathlib import Path

import warehouse
from warehouse.catalog.tables_page import tables_page
from warehouse.tables import TABLES

PAGE = Path(warehouse.__file__).parents[1] / "docs" / "tables.md"


def test_the_page_is_the_one_that_the_declarations_give():
    assert PAGE.read_text(encoding="utf-8") == tables_page(), (
        "run: python -m warehouse.catalog.tables_page > docs/tables.md"
    )


def test_every_column_of_every_table_stands_in_its_section():
    sections = tables_page().split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections] == list(TABLES)
    for section, table in zip(sections, TABLES.values()):
        assert section.count("\n| `") == len(table.columns)
        assert all(f"| `{column.name}` |" in section for column in table.columns)
