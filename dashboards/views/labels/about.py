"""What the page ``labels`` is about: a judge, a test and a layer of the latest labellings."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.reading import ask, filled

EMPTY = "No labels yet: run `ato run label`."
ALL = "all"
TESTS = {
    "detection": "detection: does it fire in this text?",
    "fuzzing": "fuzzing: are the marked tokens the active ones?",
    "intruder": "intruder: which text is the odd one out?",
    "embedding": "embedding: how similar is the text?",
}
"""Scorer -> the question it asks, in the order of the field."""

SCORED = """select distinct judge, scorer, layer
from label_scores
where collection = $collection
order by judge, layer"""


def chosen(collection: str) -> dict[str, Any]:
    """Collection, judge, scorer and layer (None: all); judge and scorer are None where nothing was scored."""
    found = ask(filled(SCORED, collection=collection))
    fields = st.columns(3)
    judge = choose("Judge", "judge", _distinct(found, "judge"), where=fields[0])
    known = set(_distinct(found, "scorer"))
    scorer = choose("Test", "test", [name for name in TESTS if name in known], where=fields[1], help=_help(known))
    layer = choose("Layer", "layer", [ALL, *map(str, sorted(_distinct(found, "layer")))], where=fields[2])
    whole = None if layer in (None, ALL) else int(layer)
    return {"collection": collection, "judge": judge, "scorer": scorer, "layer": whole}


def _distinct(found: pl.DataFrame, name: str) -> list[Any]:
    return found[name].unique(maintain_order=True).to_list()


def _help(known: set[str]) -> str:
    return "; ".join(text for name, text in TESTS.items() if name in known)
