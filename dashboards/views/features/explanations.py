"""Natural-language explanations of one feature, and whether they match this feature."""

import html
from typing import Any
from urllib.parse import quote

import polars as pl
import streamlit as st

from ato.text.display import visible
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.features.measures import shown

NEURONPEDIA = "https://www.neuronpedia.org"


EXPLANATIONS = """select feature_id, description, source, explainer, type_name, score, score_type, alignment, aligned, neuronpedia_id
from explanations
where collection = $collection and sae = $sae and feature_id = $feature_id
union all
select $feature_id, null, null, null, null, null, null, null, null, neuronpedia_id
from saes
where collection = $collection and sae = $sae and neuronpedia_id is not null
order by description is null, aligned desc nulls last, score desc nulls last, source"""


def explanations(about: dict[str, Any]) -> None:
    """The explanations of the feature, with their source, score and alignment."""
    panel(
        "Explanations",
        filled(EXPLANATIONS, **about),
        _explanations,
        note="Aligned: enough of the published top tokens are among the tokens that this feature promotes, so the "
        "explanation can describe the same feature.",
        empty="No explanation available. Run `ato run explain` to fetch explanations of published SAEs.",
    )


def _explanations(rows: pl.DataFrame) -> None:
    aligned = {True: "aligned", False: "NOT aligned: may describe another feature", None: "alignment unknown"}
    for row in rows.iter_rows(named=True):
        if row["description"] is not None:
            parts = [row["source"], row["explainer"], row["type_name"], shown(row["score"], ".3f", "not scored")]
            share = "" if row["alignment"] is None else f" ({row['alignment']:.0%} of the top tokens)"
            said = " · ".join(html.escape(part) for part in parts if part) + f" · {aligned[row['aligned']]}{share}"
            text = html.escape(visible(row["description"], keep="\n"))
            st.html(f"<p style='margin:0'>{text}</p><small style='opacity:.7'>{said}</small>")
    for published in rows["neuronpedia_id"].drop_nulls().unique(maintain_order=True):
        st.link_button(
            "On Neuronpedia", f"{NEURONPEDIA}/{quote(published)}/{rows['feature_id'][0]}", icon=":material/open_in_new:"
        )
