"""Panels of the page ``labels``: the labelled features with a search by words and by meaning, and those whose label fails."""

from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.address import choose, typed
from dashboards.ui.declared import TO_FEATURE, Column, Link, Panel, interval
from dashboards.ui.declared_panel import draw_panel, draw_table
from dashboards.ui.lists import LISTED, choose_list
from dashboards.ui.meaning import beside_meaning, by_meaning_panel
from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.labels.about import EMPTY

WHERE = ("everything", "labels", "meaning")
"""Where to look for the words of a search; everything: by words, and by meaning beside them."""
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
    fuzzing, intruder, failed, map_values(classes) as classes, promoted[:5] as promotes, activation_rate,
    replace(ordered_by, '_', ' ') as ordered_by, value, if(source = 'sae', 'SAE', source) as source, sae
from feature_labelled{listed}
where collection = $collection and judge = $judge and ($layer is null or layer = $layer){words}
order by {order}, layer, sae
limit {shown}"""
WORD = """
    and contains(lower(concat_ws(' ', description, array_to_string(promoted, ' '), array_to_string(map_values(classes), ' '))),
        lower($word{i}))"""

FAILING = f"""select
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
    promoted[:5] as promotes, if(source = 'sae', 'SAE', source) as source, sae
from feature_labelled
where collection = $collection and judge = $judge and ($layer is null or layer = $layer) and failed is distinct from false
order by fault, place, layer, sae
limit {SHOWN}"""


def labelled(about: dict[str, Any]) -> None:
    """All labelled features of the chosen judge and layer that have every word of the search."""
    first, second, third, fourth = st.columns([4, 1, 1, 1])
    text = typed(
        "Search labels",
        "words",
        where=first,
        placeholder="words of a description, a promoted token or a class; or what it means",
    ).strip()
    look_in = choose("Look in", "look_in", WHERE, where=second)
    order = choose("Order", "order", list(ORDERS), where=third) or next(iter(ORDERS))
    list_ = choose_list("feature", where=fourth)
    words = partial(_by_words, about, text.split(), order, list_)
    meaning = partial(
        by_meaning_panel,
        text,
        about["collection"],
        partial(_open, about["judge"]),
        layer=about["layer"],
        list_=list_,
    )
    if text and look_in == "meaning":
        meaning()
    elif text and look_in == "everything":
        beside_meaning(words, meaning, about["collection"])
    else:
        words()


def _by_words(about: dict[str, Any], words: list[str], order: str, list_: str | None) -> None:
    """The labelled features that have all of the words."""
    of_words = "".join(WORD.format(i=i) for i in range(len(words)))
    sql = LABELLED.format(listed=LISTED if list_ else "", words=of_words, order=ORDERS[order], shown=SHOWN)
    panel(
        LABELLED_FEATURES.title,
        filled(sql, **about, list=list_, **{f"word{i}": word for i, word in enumerate(words)}),
        partial(_table, LABELLED_FEATURES, about["judge"]),
        note=LABELLED_FEATURES.note,
        empty=f"No labelled feature matches these words. {EMPTY}"
        if words
        else f"No feature on the list is labelled. {EMPTY}"
        if list_
        else EMPTY,
    )


def failing(about: dict[str, Any]) -> None:
    """Features without a label that predicts when they fire, and why."""
    draw_panel(LABELS_THAT_FAIL, partial(_failing, about["judge"]), **about)


def _failing(judge: str, rows: pl.DataFrame) -> None:
    with st.container(horizontal=True):
        for fault, n in rows.group_by("fault", maintain_order=True).len().iter_rows():
            st.caption(f"{fault}: {n:,}")
    _table(LABELS_THAT_FAIL, judge, rows)


def _table(declared: Panel, judge: str, rows: pl.DataFrame) -> None:
    """A ticked row opens the feature with the trials of the judge."""
    link = Link("feature", {"sae": "sae", "feature_id": "feature_id", "judge": "judge"})
    draw_table(replace(declared, link=link), rows.with_columns(pl.lit(judge).alias("judge")))


def _open(judge: str, sae: str, feature_id: int) -> None:
    """Go to the page of a feature."""
    go("features", sae=sae, feature_id=feature_id, judge=judge)


SCORES = (
    *interval("detection", "detection"),
    Column("detection_near_miss", "near miss"),
    Column("detection_shuffled", "shuffled"),
    Column("fuzzing", "fuzzing"),
    Column("intruder", "intruder"),
)
FOUND = (
    "($words is null or contains(lower(concat_ws(' ', description, array_to_string(promoted, ' '))), lower($words)))"
)
LABELLED_FEATURES = Panel(
    "Labelled features",
    LABELLED.format(listed="", words=f"\n    and {FOUND}", order="place", shown=SHOWN),
    note=f"At most {SHOWN} rows with all the words. Detection: balanced accuracy with its 95 % interval, 0.5 is "
    "chance; near miss: against texts on which neighbours fire; shuffled: with another feature's description. Intruder needs no "
    "description. Place: the order in which features were labelled. Tick a row to open the feature.",
    empty="No labelled feature matches these words.",
    columns=(
        Column("place", "place"),
        Column("layer", "layer"),
        Column("feature_id", "feature"),
        Column("source", "of"),
        Column("description", "description"),
        *SCORES,
        Column("failed", "fails"),
        Column("classes", "classes", "list"),
        Column("promotes", "promotes", "list"),
        Column("activation_rate", "activation rate", "percent"),
        Column("ordered_by", "ordered by"),
        Column("value", "its value"),
        Column("sae", "SAE"),
    ),
    link=TO_FEATURE,
)
LABELS_THAT_FAIL = Panel(
    "Labels that fail",
    FAILING,
    note=f"At most {SHOWN} rows. A description fails unless the 95 % interval of its detection lies above chance; with "
    f"too little text to test, the outcome is "
    "unknown. Tick a row to open the feature.",
    empty="No failing labels, or no labels yet: run `ato run label`.",
    columns=(
        Column("fault", "fault"),
        Column("place", "place"),
        Column("layer", "layer"),
        Column("feature_id", "feature"),
        Column("source", "of"),
        Column("description", "description"),
        *interval("detection", "detection"),
        Column("intruder", "intruder"),
        Column("why", "why"),
        Column("promotes", "promotes", "list"),
        Column("sae", "SAE"),
    ),
    link=TO_FEATURE,
)
