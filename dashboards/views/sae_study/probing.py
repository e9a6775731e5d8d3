"""Panels of the page ``sae_study``: how well a few features tell what a document is about."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.sae_studies.colours import ARCHITECTURES
from dashboards.ui.address import choose
from dashboards.ui.charts import CATEGORIES, coloured, number
from dashboards.ui.declared import ONE, ROWS, Column, Panel, interval, names
from dashboards.ui.declared_panel import draw_panel, draw_rows
from dashboards.ui.reading import ask, filled

EMPTY = (
    "No probes: the text needs strata (a topic, a decade) and `sae_study.judging.probing_k` a number; probes come "
    "from `ato run sae_study`."
)
READERS = {"best": CATEGORIES[0], "random": ARCHITECTURES["random"], "dense": CATEGORIES[5]}
"""What the probe reads -> its colour."""

STRATA = """select distinct stratum, k from sae_probing_summary
where collection = $collection and layer = $layer and site = $site and $target_site is null and reader <> 'dense'
order by stratum, k"""

PROBES = """select
    label, reader, k, auroc, auroc_worst, auroc_best, n_classes, n_scored, n_test, reason, sae
from sae_probing_summary
where collection = $collection and layer = $layer and site = $site and $target_site is null
    and stratum = $stratum and (k = $k or reader = 'dense')
order by is_baseline, max(auroc) filter (where reader = 'best') over (partition by sae) desc nulls last, label, sae, reader"""

PROBED = (
    Column("value", "class"),
    Column("reader", "reads"),
    Column("k", "numbers"),
    *interval("auroc", "AUROC"),
    Column("n_train", "train", "integer"),
    Column("n_test", "test", "integer"),
    Column("n_others", "others", "integer"),
    Column("features", "features", "list"),
    Column("reason", "why not"),
)
CLASSES = f"""select {names(PROBED)}
from sae_probing
where collection = $collection and sae = $sae and stratum = $stratum and (k = $k or reader = 'dense')
order by value, reader"""


def probing(about: dict[str, Any]) -> None:
    """Mean AUROC over the classes of a stratum, and those of the chosen SAE one by one."""
    strata = ask(filled(STRATA, **about))
    left, right = st.columns(2)
    stratum = choose("Stratum", "stratum", strata["stratum"].unique(maintain_order=True).to_list(), where=left)
    own = strata.filter(pl.col("stratum") == stratum)["k"].to_list() if stratum is not None else []
    k = choose("Features that the probe reads", "probe_k", own, where=right)
    chosen = about | {"stratum": stratum, "k": k}
    left, right = st.columns(2)
    with left:
        draw_panel(PROBES_OF_SAES, _probing, **chosen)
    with right:
        draw_panel(CLASSES_OF_SAE, **chosen)


def _probing(rows: pl.DataFrame) -> None:
    if rows["auroc"].null_count() == rows.height:
        st.info("No class has enough documents.")
        return
    draw_rows(PROBES_OF_SAES, rows)


def _chart() -> alt.LayerChart | alt.FacetChart:
    x = partial(alt.X, title="AUROC, test", scale=alt.Scale(zero=False, padding=10))
    base = (
        alt.Chart(ROWS)
        .transform_filter("isValid(datum.auroc)")
        .encode(
            y=alt.Y(
                "label:N",
                title=None,
                sort=None,
                axis=alt.Axis(labelLimit=220),
            ),
            yOffset=alt.YOffset("reader:N", sort=list(READERS)),
            color=coloured("reader", READERS, "reads"),
            tooltip=[
                alt.Tooltip("label:N"),
                alt.Tooltip("reader:N", title="reads"),
                number("k", "numbers read", "d"),
                number("auroc", "mean AUROC"),
                number("auroc_worst", "worst class"),
                number("auroc_best", "best class"),
                number("n_scored", "classes scored", "d"),
                number("n_classes", "of", "d"),
                number("n_test", "test documents", ",d"),
            ],
        )
    )
    return alt.layer(
        alt.Chart(ONE).mark_rule(strokeDash=[4, 4], color="#888888").encode(x=alt.XDatum(0.5)),
        base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(x=x("auroc_worst:Q"), x2=alt.X2("auroc_best:Q")),
        base.mark_point(filled=True, size=50, opacity=1).encode(x=x("auroc:Q")),
        data=ROWS,
    ).properties(height=alt.Step(12))


PROBES_OF_SAES = Panel(
    "Probing",
    PROBES,
    note="Classifying documents of one class against all others: mean AUROC over the classes that have enough documents "
    "(point), its worst and best class (bar); 0.5 is chance. Best: features chosen on train documents; random: as many "
    "random ones; dense: the whole mean residual, without an SAE.",
    empty=EMPTY,
    view="chart",
    chart=_chart(),
    alt="AUROC of probes of each SAE, by what they read",
    wide=False,
)
CLASSES_OF_SAE = Panel(
    "Classes, chosen SAE",
    CLASSES,
    note="AUROC on test documents with 95 % intervals by document. A class that has too few documents is not scored.",
    empty=EMPTY,
    columns=PROBED,
    wide=False,
)
