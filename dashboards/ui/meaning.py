"""The panel of a search by meaning: the query is embedded here, the texts of features were by `ato run embed`."""

from collections.abc import Callable
from functools import partial

import polars as pl
import streamlit as st

from ato.autointerp.sentence_encoder import SentenceEncoder, installed_archive
from ato.errors import AtoError, UnavailableError
from dashboards.ui.panels import beside, panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from warehouse.catalog.feature_search import by_meaning

SHOWN = 50
"""Rows of the result."""
EMBEDDED = """select true
from latest_embeddings
where collection = $collection and encoder = $encoder and is_latest and ($sae is null or sae = $sae)
limit 1"""


def is_embedded(collection: str, sae: str | None = None) -> bool:
    """Whether texts of features of a collection, or of one of its SAEs, are embedded."""
    return not ask(filled(EMBEDDED, collection=collection, encoder=SentenceEncoder.name, sae=sae)).is_empty()


def how_to_embed() -> str:
    """What to run for a search by meaning where nothing is embedded, as Markdown."""
    try:
        installed_archive()
    except UnavailableError as error:
        return f"To find features by meaning too, {error.cure}, then `ato run embed`."
    return "To find features by meaning too, embed their texts once: `ato run embed`."


def beside_meaning(
    words: Callable[[], None], meaning: Callable[[], None], collection: str, sae: str | None = None
) -> None:
    """What a query finds by its words and, beside it, by its meaning; where no text is embedded, by words alone.

    Args:
        words: draws the first.
        meaning: draws the second.
        collection: its key.
        sae: only this one is searched; None: all.
    """
    if not is_embedded(collection, sae):
        st.caption(how_to_embed())
        words()
        return
    beside(words, meaning)


def by_meaning_panel(
    text: str,
    collection: str,
    open_: Callable[[str, int], None],
    *,
    sae: str | None = None,
    layer: int | None = None,
    list_: str | None = None,
) -> None:
    """Features whose texts are the most similar to a query, beside what unrelated queries find.

    Args:
        text: the query.
        collection: its key.
        open_: opens a feature, given its SAE and number.
        sae: only this one; None: all.
        layer: only this one; None: all.
        list_: only features on this list; None: all.
    """
    try:
        vector = _vector(text.strip())
    except AtoError as error:
        st.info(plain(error))
        return
    saes = () if sae is None else (sae,)
    panel(
        "Features by meaning",
        by_meaning(vector, SentenceEncoder.name, collection, saes=saes, layer=layer, list_=list_, shown=SHOWN),
        partial(_table, open_),
        note=f"The {SHOWN} most similar features, by the text of each (description, example or promoted tokens) that is most alike. "
        "Similarity: cosine of the embeddings. p: share of unrelated phrases whose best match is as similar; where the first "
        "row's p is large, nothing was found. Quantile: share of features that it exceeds. Only filters by SAE, layer and list apply. "
        "Tick a row to open it.",
        empty="No text is embedded here yet: run `ato run embed`.",
    )


def _table(open_: Callable[[str, int], None], rows: pl.DataFrame) -> None:
    first = rows.row(0, named=True)
    st.markdown(
        f"**{first['n_found']:,}** features; the best match of {first['n_queries']} unrelated phrases is below "
        f"{first['unrelated_high']:.3f} for 95 % of them"
    )
    score = partial(st.column_config.NumberColumn, format="%.3f", width=90)
    clicked = st.dataframe(
        rows,
        hide_index=True,
        key="found by meaning",
        on_select="rerun",
        selection_mode="single-row",
        column_order=["feature_id", "layer", "similarity", "p", "text", "kind", "quantile", "source", "sae"],
        column_config={
            "feature_id": st.column_config.NumberColumn("feature", format="%d", width=70),
            "layer": st.column_config.NumberColumn("layer", format="%d", width=60),
            "similarity": score("similarity"),
            "p": score("p"),
            "quantile": score("quantile"),
            "kind": st.column_config.TextColumn("found in", width=100),
            "text": st.column_config.TextColumn("text", width="large"),
            "source": "from",
            "sae": "SAE",
        },
        placeholder="–",
    )
    for place in clicked["selection"]["rows"]:
        open_(rows["sae"][place], rows["feature_id"][place])


@st.cache_data(max_entries=200, show_spinner=False)
def _vector(text: str) -> list[float]:
    (vector,) = _encoder().encode([text])
    return [float(x) for x in vector]


@st.cache_resource(show_spinner="Loading the sentence encoder, once for all readers ...")
def _encoder() -> SentenceEncoder:
    return SentenceEncoder()
