"""Panels of the page ``labels``: the labelled features with a search by words or by meaning, and those whose label fails."""

from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.address import choose, typed
from dashboards.ui.lists import LISTED, choose_list
from dashboards.ui.meaning import by_meaning_panel
from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import ticked
from dashboards.views.labels.about import EMPTY

SHOWN = 200
"""Rows at most; the SQL page has all."""
ORDERS = {
    "place": "place",
    "best first": "detection desc nulls last, place",
    "worst first": "detection nulls last, place",
}
"""Choice -> order of the table."""

LABELLED = """select
    place, layer, feature_id, description, detection, detection_low, detection_high, detection_near_miss, detection_shuffled,
    fuzzing, intruder, failed, map_values(classes) as classes, promoted[:5] as promotes, activation_rate, ordered_by, value, source, sae
from feature_labelled{listed}
where collection = $collection and judge = $judge and ($layer is null or layer = $layer){words}
order by {order}, layer, sae
limit {shown}"""
WORD = """
    and contains(lower(concat_ws(' ', description, array_to_string(promoted, ' '), array_to_string(map_values(classes), ' '))),
        lower($word{i}))"""

FAILING = """select
    case
        when description is null then 'no description'
        when failed then 'no better than chance'
        else 'not scored'
    end as fault,
    place, layer, feature_id, description, detection, detection_low, detection_high, intruder,
    case
        when failed and description is not null then 'its interval is not above 0.5'
        else reason
    end as why,
    promoted[:5] as promotes, source, sae
from feature_labelled
where collection = $collection and judge = $judge and ($layer is null or layer = $layer) and failed is distinct from false
order by fault, place, layer, sae
limit {shown}"""


def labelled(about: dict[str, Any]) -> None:
    """All labelled features of the chosen judge and layer that have every word of the search."""
    first, second, third, fourth = st.columns([4, 1, 1, 1])
    text = typed(
        "Search labels",
        "words",
        where=first,
        placeholder="words of a description, a promoted token or a class; or a meaning",
    )
    by = choose("Search by", "by", ("words", "meaning"), where=second)
    order = choose("Order", "order", list(ORDERS), where=third) or next(iter(ORDERS))
    list_ = choose_list("feature", where=fourth)
    if by == "meaning" and text.strip():
        by_meaning_panel(text, about["collection"], partial(_open, about["judge"]), layer=about["layer"], list_=list_)
        return
    words = text.split()
    of_words = "".join(WORD.format(i=i) for i in range(len(words)))
    sql = LABELLED.format(listed=LISTED if list_ else "", words=of_words, order=ORDERS[order], shown=SHOWN)
    panel(
        "Labelled features",
        filled(sql, **about, list=list_, **{f"word{i}": word for i, word in enumerate(words)}),
        partial(_table, "labelled features", about["judge"]),
        note=f"At most {SHOWN} rows with all the words. Detection: balanced accuracy with its 95 % interval (`from`, `to`), 0.5 is "
        "chance; near miss: against texts on which neighbours fire; shuffled: with another feature's description. Intruder needs no "
        "description. Place: the order in which features were labelled. Tick a row to open the feature with its trials.",
        empty=f"No labelled feature matches these words. {EMPTY}"
        if words
        else f"No feature on the list is labelled. {EMPTY}"
        if list_
        else EMPTY,
    )


def failing(about: dict[str, Any]) -> None:
    """Features without a label that tells when they fire, and why."""
    panel(
        "Labels that fail",
        filled(FAILING.format(shown=SHOWN), **about),
        partial(_failing, about["judge"]),
        note=f"At most {SHOWN} rows. A description fails unless the 95 % interval of its detection lies above chance; with "
        f"too little text to test, the outcome is "
        "unknown. Tick a row to open the feature with its trials.",
        empty="No failing labels, or no labels yet: run `ato run label`.",
    )


def _failing(judge: str, rows: pl.DataFrame) -> None:
    with st.container(horizontal=True):
        for fault, n in rows.group_by("fault", maintain_order=True).len().iter_rows():
            st.caption(f"{fault}: {n:,}")
    _table("failing labels", judge, rows)


def _table(key: str, judge: str, rows: pl.DataFrame) -> None:
    score = partial(st.column_config.NumberColumn, format="%.3f", width=80)
    picked = ticked(
        rows,
        {
            "place": st.column_config.NumberColumn("place", format="%d", width=60),
            "layer": st.column_config.NumberColumn("layer", format="%d", width=60),
            "feature_id": st.column_config.NumberColumn("feature", format="%d", width=70),
            "description": st.column_config.TextColumn("description", width="medium"),
            "detection": score("detection"),
            "detection_low": score("from"),
            "detection_high": score("to"),
            "detection_near_miss": score("near miss"),
            "detection_shuffled": score("shuffled"),
            "fuzzing": score("fuzzing"),
            "intruder": score("intruder"),
            "failed": st.column_config.CheckboxColumn("fails", width=60),
            "classes": st.column_config.ListColumn("classes"),
            "promotes": st.column_config.ListColumn("promotes", help="Top tokens of the logit lens"),
            "activation_rate": st.column_config.NumberColumn("activation rate", format="percent"),
            "ordered_by": "ordered by",
            "value": st.column_config.NumberColumn("its value", format="%.4g"),
            "sae": "SAE",
        },
        key=key,
    )
    if picked is not None:
        _open(judge, picked["sae"], picked["feature_id"])


def _open(judge: str, sae: str, feature_id: int) -> None:
    """Go to the page of a feature."""
    go("features", sae=sae, feature_id=feature_id, judge=judge)
