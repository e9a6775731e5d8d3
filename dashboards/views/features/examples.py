"""Text windows in which one feature is active, tokens coloured by activation."""

from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import streamlit as st

from ato.errors import AtoError
from dashboards.ui.address import switch
from dashboards.ui.charts import CATEGORIES
from dashboards.ui.feature_names import FeatureName, names_of
from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import filled
from dashboards.ui.token_features import EncodedSequence, encoded_sequences
from dashboards.ui.token_view import Highlight, TokenFacts, token_view
from dashboards.ui.token_view.controls import TokenChoices, token_choices
from dashboards.ui.windows import coloured, feature_in_reader, leads_to_text
from dashboards.views.features.labelled import LATEST_EVIDENCE

if TYPE_CHECKING:
    from ato.features.token_features import TokenFeatures

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


@st.fragment
def examples(about: dict[str, Any]) -> None:
    """The examples, one tab for each kind."""
    panel(
        "Activating examples",
        filled(EXAMPLES, **about),
        partial(_tabs, about),
        note=f"{COLOURS_MEAN} Examples by quantile include weak activations. All are from the train text on which features are "
        "scored; each names its corpus and document, and leads to the text.",
        empty="No examples: `ato run features` stores them for the selected features.",
    )


@st.fragment
def windows(about: dict[str, Any]) -> None:
    """Windows in which what has labels only, such as a neuron, fires, one tab for each kind."""
    panel(
        "Activating examples",
        filled(WINDOWS, **about),
        partial(_tabs, about),
        note=f"At most {SHOWN_WINDOWS} of a kind, train documents first: descriptions are made from these. {COLOURS_MEAN}",
        empty="It never fires in the text that was read.",
    )


def _tabs(about: dict[str, Any], rows: pl.DataFrame) -> None:
    controls = st.container(horizontal=True, vertical_alignment="bottom")
    every = feature_in_reader(about) is not None and switch(
        "Features of each token",
        "tokens",
        help="Hover over a token for its three strongest features, click it for more; from the stored residuals, else from the "
        "model if it is small.",
        where=controls,
        stays=True,
    )
    encoded, names, choices = _encoded(about, rows, controls) if every else ({}, {}, None)
    kinds = [kind for kind in KINDS if kind in rows["kind"]]
    n_bins = rows["quantile"].n_unique() - int(rows["quantile"].null_count() > 0)
    for tab, kind in zip(st.tabs([KINDS[kind] for kind in kinds]), kinds):
        with tab:
            for i, row in enumerate(rows.filter(rows["kind"] == kind).iter_rows(named=True)):
                known = encoded.get(row["sequence_id"])
                if known is None or choices is None:
                    st.html(coloured(row["tokens"], row["activations"], row["largest"], row["position"] - row["start"]))
                else:
                    _window(about, f"{kind} {i}", row, known, names, choices)
                quantile = "" if row["quantile"] is None else f", {_bin(row['quantile'], n_bins)}"
                before = f"{row['activation']:.3f}{quantile}, "
                leads_to_text(row, about["collection"], before, feature_in_reader(about))


def _encoded(
    about: dict[str, Any], rows: pl.DataFrame, where: Any
) -> tuple[dict[int, EncodedSequence], dict[int, FeatureName], TokenChoices | None]:
    """The features of the tokens of these windows' sequences with their names, and what is listed of them."""
    try:
        encoded = encoded_sequences(about["collection"], about["sae"], rows["sequence_id"].unique().to_list())
    except AtoError as error:
        st.info(f"Features of each token are not known here: {plain(error)}")
        return {}, {}, None
    choices = token_choices(where)
    every = {one for of in encoded.values() for token in of.features.values() for one in token.features}
    return encoded, names_of(about["collection"], about["sae"], every), choices


def _window(
    about: dict[str, Any],
    key: str,
    row: dict[str, Any],
    known: EncodedSequence,
    names: dict[int, FeatureName],
    choices: TokenChoices,
) -> None:
    positions = [row["start"] + i for i in range(len(row["tokens"]))]
    features: list[TokenFeatures | None] = [known.features.get(position) for position in positions]
    norms = [known.norms.get(position) for position in positions]
    token_view(
        f"example {key}",
        row["tokens"],
        [Highlight("activation", CATEGORIES[1], row["activations"], row["largest"])],
        TokenFacts(
            positions,
            choices.listed(features, names),
            names,
            about["sae"],
            about["collection"],
            {"norm of the residual": norms},
            f"L{about['layer']}/",
        ),
        centre=row["position"] - row["start"],
    )


def _bin(quantile: float, n_bins: int) -> str:
    """The name of a bin of activations by its upper quantile."""
    if n_bins == 4:
        return f"{('bottom', 'second', 'third', 'top')[round(4 * quantile) - 1]} quartile"
    return f"bin {round(n_bins * quantile)} of {n_bins} by activation"
