"""Text windows in which one feature is active, tokens coloured by activation."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.windows import coloured, leads_to_text
from dashboards.views.features.labelled import LATEST_EVIDENCE

KINDS = {"top": "Strongest", "quantile": "By quantile", "random": "Random"}
"""Kind of an example -> its tab."""

SHOWN_WINDOWS = 12
COLOURS_MEAN = (
    "Deeper colour: larger activation, relative to the largest one shown. Hover over a token for its value. The underlined token is the "
    "peak. `·` is a space and `↵` a line break in a coloured token."
)


EXAMPLES = """with latest as (
    select evaluation as scoring
    from latest_evaluations
    where collection = $collection and sae = $sae and kind = 'feature_scores' and is_latest
)

select e.kind, e.rank, e.quantile, c.corpus, s.document_id, e.sequence_id, e.position, e.activation, e.start, e.tokens,
    e.activations, max(list_max(e.activations)) over () as largest
from feature_examples as e
semi join latest using (scoring)
left join sequences as s using (collection, sequence_id)
left join collections as c using (collection)
where e.collection = $collection and e.sae = $sae and e.feature_id = $feature_id
order by e.kind, e.rank"""
WINDOWS = f"""with {LATEST_EVIDENCE}

select kind, rank, quantile, split, corpus, document_id, sequence_id, position, activation, start, tokens, activations,
    max(list_max(activations)) over () as largest
from example_windows
semi join latest using (collection, evidence)
where feature_id = $feature_id and kind <> 'silent'
qualify row_number() over (partition by kind order by split = 'train' desc, split, rank) <= {SHOWN_WINDOWS}
order by kind, split = 'train' desc, split, rank"""


def examples(about: dict[str, Any]) -> None:
    """The examples, one tab for each kind."""
    panel(
        "Activating examples",
        filled(EXAMPLES, **about),
        lambda rows: _tabs(rows, about["collection"]),
        note=f"{COLOURS_MEAN} Examples by quantile include weak activations. All are from the train text on which features are "
        "scored; each names its corpus and document, and leads to the text.",
        empty="No examples: `ato run features` stores them for the selected features.",
    )


def windows(about: dict[str, Any]) -> None:
    """Windows in which what has labels only, such as a neuron, fires, one tab for each kind."""
    panel(
        "Activating examples",
        filled(WINDOWS, **about),
        lambda rows: _tabs(rows, about["collection"]),
        note=f"At most {SHOWN_WINDOWS} of a kind, train documents first: descriptions are made from these. {COLOURS_MEAN}",
        empty="It never fires in the text that was read.",
    )


def _tabs(rows: pl.DataFrame, collection: str) -> None:
    kinds = [kind for kind in KINDS if kind in rows["kind"]]
    n_bins = rows["quantile"].n_unique() - int(rows["quantile"].null_count() > 0)
    for tab, kind in zip(st.tabs([KINDS[kind] for kind in kinds]), kinds):
        with tab:
            for row in rows.filter(rows["kind"] == kind).iter_rows(named=True):
                st.html(coloured(row["tokens"], row["activations"], row["largest"], row["position"] - row["start"]))
                quantile = "" if row["quantile"] is None else f", {_bin(row['quantile'], n_bins)}"
                leads_to_text(row, collection, f"{row['activation']:.3f}{quantile}, ")


def _bin(quantile: float, n_bins: int) -> str:
    """The name of a bin of activations by its upper quantile."""
    if n_bins == 4:
        return f"{('bottom', 'second', 'third', 'top')[round(4 * quantile) - 1]} quartile"
    return f"bin {round(n_bins * quantile)} of {n_bins} by activation"
