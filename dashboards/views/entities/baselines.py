"""Panel of the page ``entities``: the best features beside lengths, fame, confidence and a probe."""

from dataclasses import replace

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.declared import ONE, ROWS, Panel
from dashboards.ui.declared_panel import draw_rows
from dashboards.ui.plain import plain
from dashboards.views.entities.counts import EMPTY

BESIDE = """with latest as (
    select result as latent_scoring
    from latest_entity_results
    where collection = $collection and kind = 'latents' and is_latest and contrast = $contrast
        and template = $template and position = $position
)

select
    'best for ' || direction || ': layer ' || layer || ', feature ' || feature_id as name, 'feature' as kind,
    auroc, auroc_low, auroc_high, n_positive, n_negative, matched, false as confounded
from entity_latent_ranking
where collection = $collection and contrast = $contrast and template = $template and position = $position
    and entity_type = $entity_type and rank = 1
union all
select
    case baseline
        when 'n_tokens' then 'tokens of the name'
        when 'n_characters' then 'characters of the name'
        when 'token_frequency' then 'frequency of its tokens'
        when 'confidence' then 'confidence of the answers'
        when 'probe' then 'linear probe, layer ' || layer
        else baseline
    end as name,
    if(baseline = 'probe', 'probe', 'baseline') as kind,
    auroc, auroc_low, auroc_high, n_positive, n_negative, matched, confounded
from entity_baselines
semi join latest using (latent_scoring)
where collection = $collection and contrast = $contrast and template = $template and position = $position
    and entity_type = $entity_type
order by auroc desc nulls last, name"""

COLOURS = {"feature": CATEGORIES[0], "baseline": CATEGORIES[6], "probe": CATEGORIES[3]}


def _chart(first: str, second: str) -> alt.LayerChart | alt.FacetChart:
    title = "AUROC, test"
    scale = alt.Scale(zero=False, padding=10)
    base = (
        alt.Chart(ROWS)
        .transform_filter("isValid(datum.auroc)")
        .encode(
            y=alt.Y("name:N", title=None, sort=None, axis=alt.Axis(labelLimit=260)),
            color=alt.Color(
                "kind:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())), legend=None, title="kind"
            ),
            tooltip=[
                alt.Tooltip("name:N"),
                number("auroc", "AUROC"),
                number("auroc_low", "95 % from"),
                number("auroc_high", "to"),
                number("n_positive", first, ",d"),
                number("n_negative", second, ",d"),
            ],
        )
    )
    return alt.layer(
        alt.Chart(ONE).mark_rule(strokeDash=[4, 4], color="#888888").encode(x=alt.XDatum(0.5)),
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("auroc_low:Q", title=title, scale=scale), x2=alt.X2("auroc_high:Q")
        ),
        base.mark_point(filled=True, size=80, opacity=1).encode(x=alt.X("auroc:Q", title=title, scale=scale)),
        data=ROWS,
    ).properties(height=alt.Step(32))


BEST_BESIDE_BASELINES = Panel(
    "Best features beside baselines",
    BESIDE,
    note="AUROC on test entities with 95 % intervals by entity; 0.5 is chance. Baselines without an SAE: number of tokens "
    "and of characters of the name, popularity (inhabitants, votes), mean log-frequency of its tokens in the corpus, "
    "the model's confidence in its greedy answers (mean log-probability of a token), and a linear probe on the "
    "residual of each layer. The direction of each is chosen on train, so it can fall below 0.5.",
    empty=EMPTY,
    view="chart",
    chart=_chart("of the first class", "of the second class"),
    alt="AUROC of the best features and of every baseline",
    wide=False,
)


def draw_baselines(first: str, second: str, rows: pl.DataFrame) -> None:
    """A warning where a baseline tells the classes apart, and the chart."""
    _warning(rows)
    if rows["auroc"].null_count() == rows.height:
        st.info("Not scored: a class has no test entities.")
        return
    draw_rows(replace(BEST_BESIDE_BASELINES, chart=_chart(first, second)), rows)


def _warning(rows: pl.DataFrame) -> None:
    """One line where something that needs no SAE tells the classes apart."""
    found = rows.filter(pl.col("confounded"))
    if not found.is_empty():
        told = ", ".join(f"{plain(row['name'])} (AUROC {row['auroc']:.2f})" for row in found.iter_rows(named=True))
        matched = "are matched" if found["matched"].any() else "are not matched"
        st.warning(f"Confounded: the classes differ without any SAE by {told}; they {matched} on token count.")
