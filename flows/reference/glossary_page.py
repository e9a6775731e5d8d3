"""The page docs/glossary.md, made from terms and declarations: ``python -m flows.reference.glossary_page > docs/glossary.md``."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from flows.reference.settings_list import Setting, groups
from warehouse.tables import TABLES

HEAD = """# Glossary

The words of tables, pages, figures and messages. What a column holds and what a setting does is said as the declarations say
it: [all columns](tables.md), [all settings](settings.md).
"""


@dataclass(frozen=True)
class Term:
    """One entry of the glossary."""

    name: str
    text: str
    """What it is, in words for a first reader."""
    columns: Sequence[str] = ()
    """``table.column``; the page shows what the declarations say of them."""
    settings: Sequence[str] = ()
    """``group.setting``; the page shows meaning and default."""


def terms() -> list[Term]:
    """The entries, in the order of their names."""
    listed = yaml.safe_load(Path(__file__).with_name("terms.yaml").read_text(encoding="utf-8"))
    return sorted((Term(**entry) for entry in listed), key=lambda term: term.name.strip("`_").lower())


def glossary_page() -> str:
    """All terms with their columns and settings, as Markdown; KeyError for one that is not declared."""
    return "\n".join([HEAD, *map(_entry, terms())])


def _entry(term: Term) -> str:
    lines = [*map(_column, term.columns), *map(_setting, term.settings)]
    listed = "\n".join(lines)
    return f"## {term.name}\n\n{term.text}\n" + (f"\n{listed}\n" if lines else "")


def _column(path: str) -> str:
    table, name = path.split(".")
    column = TABLES[table].column(name)
    unit = f" [{column.unit}]" if column.unit else ""
    return f"- column `{path}`: {column.meaning}{unit}"


@cache
def _settings() -> dict[str, Setting]:
    return {setting.path: setting for group in groups() for setting in group.settings}


def _setting(path: str) -> str:
    setting = _settings()[path]
    return f"- setting `{path}`, by default `{setting.default}`: {setting.meaning}"


if __name__ == "__main__":
    print(glossary_page(), end="")
