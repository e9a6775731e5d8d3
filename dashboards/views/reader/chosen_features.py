"""The features that a reader wants highlighted, as the address names them, each with its colour."""

import re
from dataclasses import dataclass

import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES
from dashboards.ui.plain import plain
from warehouse.catalog.feature_names import FeatureName, feature_name

COLOURS = (CATEGORIES[1], CATEGORIES[4], CATEGORIES[2], CATEGORIES[3], CATEGORIES[5], CATEGORIES[0])
"""One a feature, of Okabe and Ito's palette; grey is left for norms and losses."""


@dataclass(frozen=True)
class ChosenFeature:
    """A feature to highlight."""

    sae: str
    layer: int
    feature_id: int
    colour: str

    @property
    def name(self) -> str:
        """As people write it."""
        return f"L{self.layer}/{self.feature_id}"


def read_features(text: str, saes: pl.DataFrame) -> list[ChosenFeature]:
    """The features that a text names, such as ``L12/345, KEY/12``; of what names none, a warning is shown.

    Args:
        text: of the reader, or of the address.
        saes: rows with ``sae``, ``layer`` and ``d_sae``.
    """
    found: list[ChosenFeature] = []
    wrong = []
    for one in dict.fromkeys(filter(None, re.split(r"[,\s]+", text))):
        named = feature_name(one) or FeatureName(-1)
        known = saes.filter(pl.col("sae").eq_missing(named.sae) | pl.col("layer").eq_missing(named.layer))
        if known.height != 1 or named.feature_id >= known["d_sae"][0]:
            wrong.append(one)
            continue
        sae, at = known["sae"][0], known["layer"][0]
        if len(found) < len(COLOURS) and (sae, named.feature_id) not in {(old.sae, old.feature_id) for old in found}:
            found.append(ChosenFeature(sae, at, named.feature_id, COLOURS[len(found)]))
    if wrong:
        st.warning(
            plain(f"No such feature: {', '.join(wrong)}. Write L12/345, or KEY/345 where a layer has several SAEs.")
        )
    return found


def with_feature(text: str, sae: str, feature_id: int) -> str:
    """The text with one more feature; the oldest makes room for it where all colours are taken."""
    named = [one for one in re.split(r"[,\s]+", text) if one and one != f"{sae}/{feature_id}"]
    return ",".join([*named, f"{sae}/{feature_id}"][-len(COLOURS) :])
