"""Search for features by id, explanation, promoted word or token of an example, and beside these by meaning."""

from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.address import choose, typed
from dashboards.ui.charts import VERDICTS
from dashboards.ui.lists import choose_list
from dashboards.ui.meaning import beside_meaning, by_meaning_panel
from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.views.features.query import ANY, Search, statement

SHOWN = 200
"""Rows of the result."""
WHERE = ("everything", "explanations", "examples", "promoted words", "ids", "meaning")


LEAPS = """select distinct leap
from operators
where collection = $collection and method = 'ridge' and position_policy = 'same'
    and target_layer in (select layer from saes where collection = $collection and sae in $saes)
order by leap"""


def controls(collection: str, saes: list[str]) -> Search:
    """The search form; its fields are kept in the address."""
    first, second, third = st.columns([2, 1, 1])
    text = typed("Search", "search", where=first, placeholder="id such as 12/658, words, or what it means").strip()
    look_in = choose("Look in", "look_in", WHERE, where=second)
    sae = choose("SAE", "sae", [ANY, *saes] if len(saes) > 1 else saes, where=third)
    first, second, third, fourth = st.columns([2, 1, 1, 1])
    shown = choose("Features", "features", ("all", "selected"), where=first, widget="segmented_control")
    leaps = ask(filled(LEAPS, collection=collection, saes=saes if sae == ANY else [sae]))["leap"].to_list()
    leap = choose("Leap (layers)", "leap", leaps, where=second)
    verdict = choose("Verdict at this leap", "verdict", [ANY, *VERDICTS], where=third) if leaps else ANY
    list_ = choose_list("feature", where=fourth)
    return Search(
        collection,
        None if sae == ANY else sae,
        text,
        look_in or WHERE[0],
        shown == "selected",
        leap,
        verdict or ANY,
        list_,
    )


def results(search: Search) -> None:
    """The matching features, best matches first: by words, and where texts are embedded by meaning beside them."""
    if search.look_in == "ids" and search.text and search.named is None:
        st.info(
            f"Feature ids are numbers, or 12/658 or KEY/658, not {plain(repr(search.text))}. Look in everything to search for text."
        )
        return
    if search.text and search.look_in == "meaning":
        _by_meaning(search)
    elif not search.text or search.look_in != "everything" or search.named is not None:
        _by_words(search)
    else:
        beside_meaning(partial(_by_words, search), partial(_by_meaning, search), search.collection, search.sae)


def _by_meaning(search: Search) -> None:
    by_meaning_panel(search.text, search.collection, _open_found, sae=search.sae, list_=search.list)


def _by_words(search: Search) -> None:
    panel(
        "Features found" if search.text else "Features by score",
        statement(search),
        partial(_table, search=search),
        note=f"At most {SHOWN} rows. Tick a row to open it. Whole-token matches come first, then by strength: the "
        "largest activation on the matching token in an example, or the logit of the promoted word. Without a query, "
        "by score; only candidates have one. r2 and verdict: of the ridge operator at the same position, at the leap "
        "chosen above; `leap: verdict` has all leaps.",
        empty="No matches. Shorten the query, look in everything, or clear the filters. Examples and promoted words "
        "come from `ato run features`, explanations from `ato run explain`.",
    )


def _table(rows: pl.DataFrame, search: Search) -> None:
    """The table of matches; selecting a row opens its feature."""
    found, why = rows["n_found"][0], ["found_in", "strength"] if search.text else []
    st.markdown(f"**{found:,}** found, first {rows.height} shown" if found > rows.height else f"**{found:,}** found")
    explained = ["explanation"] if rows["explanation"].null_count() < rows.height else []
    at, judged = (
        ("r2", "verdict") if search.leap is None else (f"r2, leap {search.leap}", f"verdict, leap {search.leap}")
    )
    numbers = ["r2", "verdict", "score", "activation_rate"]
    order = ["feature_id", "layer", *why, *numbers, "promotes", *explained, "verdicts", "sae"]
    st.dataframe(
        rows,
        hide_index=True,
        key="found",
        selection_mode="single-row",
        on_select=partial(_open, rows),
        column_order=order,
        placeholder="–",
        column_config={
            "feature_id": st.column_config.NumberColumn("feature", format="%d", width=70),
            "layer": st.column_config.NumberColumn("layer", format="%d", width=60),
            "found_in": st.column_config.TextColumn("found in", width=110),
            "strength": st.column_config.NumberColumn("strength", format="%.3f", width=90, help="Activation or logit"),
            "r2": st.column_config.NumberColumn(at, format="%.3f", width=90, help="On active test tokens"),
            "verdict": st.column_config.TextColumn(judged, width=120),
            "promotes": st.column_config.ListColumn("promotes", help="Top tokens of the logit lens", width=220),
            "explanation": st.column_config.TextColumn("explanation", width=190),
            "score": st.column_config.NumberColumn("score", format="%.3f", width=90),
            "activation_rate": st.column_config.NumberColumn("activation rate", format="percent", width=110),
            "verdicts": st.column_config.ListColumn(
                "leap: verdict",
                width=330,
                help="Of the ridge operators",
            ),
            "sae": st.column_config.TextColumn("SAE"),
        },
    )


def _open(rows: pl.DataFrame) -> None:
    """Put the selected feature into the address."""
    for place in st.session_state["found"]["selection"]["rows"]:
        open_feature(rows["sae"][place], rows["feature_id"][place])


def _open_found(sae: str, feature_id: int) -> None:
    """Open a feature from within a run of the page."""
    open_feature(sae, feature_id)
    st.rerun()


def open_feature(sae: str, feature_id: int) -> None:
    """Open a feature by putting it into the address; remembers the searched SAE for the way back."""
    if "feature_id" not in st.query_params:
        st.session_state["searched SAE"] = st.query_params.get("sae")
    st.query_params.update(sae=sae, feature_id=str(feature_id))
