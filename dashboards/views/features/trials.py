"""The questions behind the scores of a label: each with its text, the right answer, the judge's, and where the text is from."""

from itertools import groupby
from typing import Any

import polars as pl
import streamlit as st

from ato.autointerp.questions import SCORERS
from dashboards.ui.address import choose
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.ui.windows import coloured, feature_in_reader, leads_to_text

SHOWN = 20
"""Trials on the page; the SQL page has all."""
ANSWERS = {
    "wrong first": "answered is not distinct from expected, ",
    "as asked": "",
    "unanswered first": "answered is not null, ",
}
CONTROLS = {"its description": "none", "another's (control)": "shuffled"}

ASKED = """select distinct t.scorer
from detection_trials as t
semi join latest_labellings as l on l.collection = t.collection and l.labelling = t.labelling and l.is_latest
where t.collection = $collection and t.sae = $sae and t.feature_id = $feature_id and t.judge = $judge"""

TRIALS = """with latest as (
    select collection, labelling from latest_labellings
    where collection = $collection and sae = $sae and judge = $judge and is_latest
),

shown as (
    select *, count(*) over () as n_trials
    from detection_trials
    semi join latest using (collection, labelling)
    where feature_id = $feature_id and scorer = $scorer and control = $control
    order by {order}split, candidate, trial
    limit {shown}
),

asked as (
    select * exclude (windows), unnest(windows) as window_id, generate_subscripts(windows, 1) - 1 as text_number
    from shown
)

select a.candidate, a.trial, a.tier, a.split, a.expected, a.answered, a.probability, a.reason, a.call, a.text_number, a.marked, w.corpus,
    w.document_id, w.sequence_id, w.position, w.start, w.stratum, w.activation, w.tokens, w.activations,
    max(list_max(w.activations)) over () as largest, a.n_trials
from asked as a
left join example_windows as w using (collection, evidence, feature_id, window_id)
order by {order}split, candidate, trial, text_number"""


def trials(about: dict[str, Any]) -> None:
    """Trials of one test of one judge; ``about`` names the judge too."""
    known = set(ask(filled(ASKED, **about))["scorer"])
    fields = st.columns(3)
    scorer = choose("Test", "test", [name for name in SCORERS if name in known], where=fields[0])
    control = choose("Asked with", "asked_with", list(CONTROLS), where=fields[1]) or next(iter(CONTROLS))
    order = choose("Trials", "trials", list(ANSWERS), where=fields[2]) or next(iter(ANSWERS))
    sql = TRIALS.format(order=ANSWERS[order], shown=SHOWN)
    panel(
        "Trials",
        filled(sql, **about, scorer=scorer, control=CONTROLS[control]),
        lambda rows: _trials(rows, str(scorer), about),
        note=f"At most {SHOWN} trials. Colour is the feature's activation, which the judge did not see; boxed tokens are those that were "
        "marked for it (fuzzing). An intruder is one of several texts, numbered from 1. Each link leads to the text.",
        empty="No such trial: a description without words is not asked about, and an intruder needs none, so that it has no control.",
    )


def _trials(rows: pl.DataFrame, scorer: str, about: dict[str, Any]) -> None:
    n, shown = rows["n_trials"][0], rows.select("candidate", "split", "trial").n_unique()
    st.caption(f"{n:,} trials, first {shown} shown" if n > shown else f"{n:,} trials")
    for _, some in groupby(rows.iter_rows(named=True), key=lambda row: (row["split"], row["candidate"], row["trial"])):
        _trial(list(some), scorer, about)


def _trial(texts: list[dict[str, Any]], scorer: str, about: dict[str, Any]) -> None:
    first = texts[0]
    right = first["answered"] == first["expected"]
    verdict = "no answer" if first["answered"] is None else "right" if right else "WRONG"
    probability = "" if first["probability"] is None else f", probability {first['probability']:.2f}"
    reason = "" if first["reason"] is None else f" ({first['reason']})"
    with st.container(border=True):
        st.text(
            f"{verdict}: expected {_answer(first['expected'], scorer)}, answered {_answer(first['answered'], scorer)}{probability}{reason} "
            f"· {first['tier'].replace('_', ' ')} · {first['split']}"
        )
        for row in texts:
            if row["tokens"] is None:
                st.caption("The text of this trial is no longer in the warehouse.")
                continue
            number = f"Text {row['text_number'] + 1}: " if scorer == "intruder" else ""
            st.html(coloured(row["tokens"], row["activations"], row["largest"], marked=row["marked"] or ()))
            before = f"{number}{row['stratum'] + ', ' if row['stratum'] else ''}"
            leads_to_text(row, about["collection"], before, feature_in_reader(about))


def _answer(value: int | None, scorer: str) -> str:
    """An answer in words."""
    if value is None:
        return "nothing"
    return f"text {value + 1}" if scorer == "intruder" else "yes" if value else "no"
