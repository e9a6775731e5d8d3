"""Text windows in which one feature is active, tokens coloured by activation."""

import html
from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from ato.text.display import visible
from ato.text.token_texts import whole_characters
from dashboards.ui.navigation import link
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

KINDS = {"top": "Strongest", "quantile": "By quantile", "random": "Random"}
"""Kind of an example -> its tab."""

COLOUR = "230, 159, 0"

WEAKEST, STRONGEST = 0.12, 0.6
"""Opacity of the smallest and of the largest activation: visible on white and on black, with readable text."""

WHITESPACE = str.maketrans({" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"})


EXAMPLES = """with latest as (
    select evaluation as scoring
    from latest_evaluations
    where collection = $collection and sae = $sae and kind = 'feature_scores' and is_latest
)

select kind, rank, quantile, sequence_id, position, activation, start, tokens, activations,
    max(list_max(activations)) over () as largest
from feature_examples
semi join latest using (scoring)
where collection = $collection and sae = $sae and feature_id = $feature_id
order by kind, rank"""


def examples(about: dict[str, Any]) -> None:
    """The examples, one tab for each kind."""
    panel(
        "Activating examples",
        filled(EXAMPLES, **about),
        lambda rows: _tabs(rows, about["collection"]),
        note="Deeper colour: larger activation, relative to the largest one shown. Hover over a token for its value. "
        "The underlined token is the peak. `·` is a space and `↵` a line break in a coloured token. Examples by "
        "quantile include weak activations. All are from the train text on which features are scored.",
        empty="No examples: `ato run features` stores them for the selected features.",
    )


SEQUENCE = """select sequence_id, document_id, split, start, n_tokens, text
from sequences
where collection = $collection and sequence_id = $sequence_id"""


def _tabs(rows: pl.DataFrame, collection: str) -> None:
    kinds = [kind for kind in KINDS if kind in rows["kind"]]
    n_bins = rows["quantile"].n_unique() - int(rows["quantile"].null_count() > 0)
    for tab, kind in zip(st.tabs([KINDS[kind] for kind in kinds]), kinds):
        with tab:
            for row in rows.filter(rows["kind"] == kind).iter_rows(named=True):
                st.html(coloured(row["tokens"], row["activations"], row["largest"], row["position"] - row["start"]))
                quantile = "" if row["quantile"] is None else f", {_bin(row['quantile'], n_bins)}"
                link(
                    f"{row['activation']:.3f}{quantile}, at position {row['position']} of sequence {row['sequence_id']}",
                    "sql_bench",
                    sql=filled(SEQUENCE, collection=collection, sequence_id=row["sequence_id"]),
                )


def _bin(quantile: float, n_bins: int) -> str:
    """The name of a bin of activations by its upper quantile."""
    if n_bins == 4:
        return f"{('bottom', 'second', 'third', 'top')[round(4 * quantile) - 1]} quartile"
    return f"bin {round(n_bins * quantile)} of {n_bins} by activation"


def coloured(tokens: Sequence[str], activations: Sequence[float], largest: float, centre: int) -> str:
    """A window of text as HTML.

    Args:
        tokens: the window; escaped here. Those that share a character are shown as it, with their largest activation.
        activations: of the feature, one for each token; 0 has no colour.
        largest: activation that gets the deepest colour.
        centre: index of the underlined token.
    """
    spans = []
    for token, own in whole_characters(tokens):
        activation = max(activations[place] for place in own)
        style = "text-decoration:underline;text-underline-offset:3px;" if centre in own else ""
        if activation > 0:
            opacity = WEAKEST + (STRONGEST - WEAKEST) * min(activation / largest, 1)
            text = html.escape(visible(token.translate(WHITESPACE)))
            style += f"border-radius:3px;background-color:rgba({COLOUR},{opacity:.3f})"
            spans.append(f'<span style="{style}" title="{activation:.3f}">{text}</span>')
        else:
            text = html.escape(visible(token.replace("\n", "↵"), keep="\t\r"))
            spans.append(f'<span style="{style}">{text}</span>' if style else text)
    return f'<div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.7">{"".join(spans)}</div>'
