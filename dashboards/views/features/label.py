"""What judges say that a feature means, and how well that predicts when it fires, beside neurons, control and chance."""

import html
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.autointerp.questions import SCORERS
from ato.features.excerpts import TIERS
from ato.text.display import visible
from dashboards.ui.charts import coloured, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

LABELS = """select judge, description, detection, detection_low, detection_high, detection_near_miss, detection_shuffled, fuzzing,
    fuzzing_low, fuzzing_high, intruder, intruder_chance, failed, reason, classes, place, ordered_by, value, sae,
    feature_id
from feature_labelled
where collection = $collection and sae = $sae and feature_id = $feature_id
order by detection desc nulls last, judge"""

JUDGES = """select judge from latest_labellings
where collection = $collection and sae = $sae and is_latest
order by judge"""
JUDGED = (
    "Each judge described the feature from train documents and was then asked on other documents. Detection: balanced accuracy, "
    "0.5 is chance; a label fails unless its 95 % interval lies above 0.5."
)
"""What a label and its verdict rest on."""


def label(about: dict[str, Any]) -> None:
    """The description of each judge with its verdict and classes."""
    panel(
        "Label",
        filled(LABELS, **about),
        _labels,
        note=f"{JUDGED} Intruder needs no description.",
        empty="Not labelled: `ato run label` labels the features of `label.features`, or the first ones by `label.order`.",
    )


def _labels(rows: pl.DataFrame) -> None:
    for row in rows.iter_rows(named=True):
        text = html.escape(visible(row["description"] or "no description", keep="\n"))
        said = " · ".join(html.escape(visible(part)) for part in _said(row))
        st.html(f"<p style='margin:0'>{text}</p><small style='opacity:.7'>{said}</small>")


def _said(row: dict[str, Any]) -> list[str]:
    verdicts = {
        True: "FAILS",
        False: "predicts when it fires",
        None: "not tested whether it predicts where the feature fires",
    }
    parts = [f"judge {row['judge']}", verdicts[row["failed"]]]
    for name in ("detection", "fuzzing"):
        if row[name] is not None:
            parts.append(f"{name} {row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]")
    if row["intruder"] is not None:
        parts.append(f"intruder {row['intruder']:.2f} (chance {row['intruder_chance']:.2f})")
    parts += [] if row["reason"] is None else [row["reason"]]
    return parts + [f"{name}: {value}" for name, value in (row["classes"] or {}).items()]


COLOURS = {"its description": "#0072B2", "another's description": "#999999", "neurons of the layer": "#E69F00"}

SCORES = f"""with latest as (
    select collection, labelling from latest_labellings
    where collection = $collection and sae = $sae and judge = $judge and is_latest
),

own as (
    select scorer, tier, if(control = 'none', 'its description', 'another''s description') as what, score, score_low, score_high, chance,
        n_positive + n_negative as n_trials, n_unanswered, reason
    from description_scores
    semi join latest using (collection, labelling)
    where feature_id = $feature_id
),

neurons as (
    select scorer, tier, 'neurons of the layer' as what, mean_score, mean_low, mean_high, chance,
        (n_positive + n_negative)::bigint, n_unanswered::bigint, n_scored || ' neurons'
    from label_scores
    where collection = $collection and layer = $layer and judge = $judge and source = 'neurons' and control = 'none'
        and scorer in (select scorer from own)
)

select scorer || if(tier = 'all', '', ', ' || replace(tier, '_', ' ')) as test, *
from (from own union all from neurons)
order by list_position({list(SCORERS)}, scorer),
    list_position({["all", *TIERS]}, tier), what <> 'its description', what desc"""


def label_scores(about: dict[str, Any]) -> None:
    """Scores of one judge's description by test and tier, beside control and neurons; ``about`` names the judge too."""
    panel(
        "Scores of the label",
        filled(SCORES, **about),
        _scores,
        note="Points with 95 % intervals by test and by the source of the inactive texts; the lines across are chance level. Another's "
        "description is the control. Neurons: mean over the labelled MLP neurons of the layer with the spread "
        "between them, if `label.n_neurons` is "
        "set.",
        empty="This judge has not scored it: `ato run label`.",
    )


def _scores(rows: pl.DataFrame) -> None:
    own = rows.filter(rows["what"] == "its description")
    if own["score"].null_count() == own.height:
        st.info(f"Not scored: {next(iter(own['reason'].drop_nulls()), 'nothing was asked')}.")
        return
    kinds = {name: colour for name, colour in COLOURS.items() if name in set(rows["what"])}
    draw_chart(
        scores_chart(rows, kinds),
        alt="Points with intervals: scores of the label by test, beside control, neurons and chance",
    )


def scores_chart(rows: Any, kinds: dict[str, str]) -> alt.LayerChart | alt.FacetChart:
    """Scores by test with their intervals and chance.

    Args:
        rows: of ``SCORES``.
        kinds: of scores -> colour.
    """
    base = alt.Chart(rows).encode(
        y=alt.Y("test:N", title=None, sort=None, axis=alt.Axis(labelLimit=170, labelOverlap=False)),
        tooltip=[
            alt.Tooltip("test:N"),
            alt.Tooltip("what:N"),
            number("score", "score"),
            number("score_low", "95 % from"),
            number("score_high", "to"),
            number("chance", "chance"),
            number("n_trials", "answered trials", ",d"),
            number("n_unanswered", "unanswered", ",d"),
            alt.Tooltip("reason:N"),
        ],
    )
    offset = alt.YOffset("what:N", sort=list(COLOURS))
    colour = coloured("what", kinds, "what").legend(orient="top", title=None, columns=1)
    x = alt.X("score:Q", title="score", scale=alt.Scale(domain=[0, 1]))
    chart = alt.layer(
        base.mark_tick(color="#888888", thickness=2).encode(x=alt.X("chance:Q", title="score"), yOffset=offset),
        base.mark_rule(strokeWidth=2, opacity=0.7).encode(
            x=alt.X("score_low:Q", title="score"), x2=alt.X2("score_high:Q"), yOffset=offset, color=colour
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=x, yOffset=offset, color=colour),
    )
    return chart.properties(height=alt.Step(14, **{"for": "offset"}))
