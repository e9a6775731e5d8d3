"""Page ``reference``: the glossary and the settings, as docs/ has them."""

from pathlib import Path

import streamlit as st

from ato.errors import InputError
from dashboards.ui.address import choose, typed
from dashboards.ui.plain import plain

DOCS = Path(__file__).resolve().parents[3] / "docs"
PARTS = {"glossary": "Glossary", "settings": "Settings"}
"""File of docs/ -> its title; both are made from the declarations of tables and settings."""
HEADS = {
    "glossary": "The words of pages, tables and figures, with the columns and settings that they stand for.",
    "settings": "In a profile they stand under their group, after `--set` and in forms under the same names; "
    "`ato settings` prints them too. A changed setting gives the stages that depend on it new keys.",
}


def page() -> None:
    """Draw the page: the sections that hold the searched words, else all."""
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    part = choose("Part", "part", list(PARTS), widget="segmented_control", where=left, format=PARTS.__getitem__)
    words = typed("Find", "find", where=right, placeholder="a word, such as skill or ablation").strip().lower()
    part = part or next(iter(PARTS))
    st.caption(HEADS[part])
    every = sections(part)
    titled = [section for section in every if words and words in section.partition("\n")[0].lower()]
    found = titled or [section for section in every if words in section.lower()]
    if not found:
        st.info(f"Nothing about {plain(repr(words))} here. Clear the field to see all.")
    for section in found:
        st.markdown(f"#### {section}")


def sections(part: str) -> list[str]:
    """The sections of a page of docs/, each with its title as first line.

    Raises:
        InputError: the program was installed without docs/.
    """
    path = DOCS / f"{part}.md"
    if not path.is_file():
        raise InputError(f"no {path.name}", where=DOCS, cure="install the repository with `pip install -e .`")
    return path.read_text(encoding="utf-8").split("\n## ")[1:]
