"""One feature in numbers: how often it is active, how it scores, how it was explained, and which features it is like."""

import html
from functools import partial
from typing import Any
from urllib.parse import quote

import polars as pl
import streamlit as st

from dashboards.pages.features.search import open_feature
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

NEURONPEDIA = "https://www.neuronpedia.org"
SHOWN_NEIGHBOURS = 50


def measures(about: dict[str, Any]) -> None:
    """The feature's activity, its score with all components, and what is not known of it."""
    panel(
        f"Feature {about['feature_id']} of {about['sae']}",
        filled(MEASURES, **about),
        _measures,
        note="The score weighs low token entropy, vocabulary focus and causal effect against redundancy and deadness, each scaled "
        "over the SAE's features. Vocabulary focus: largest logit of the decoder row, in standard deviations above the mean. Causal "
        "effect: rise of the next-token loss when the feature is taken out, with its 95 % interval over documents; measured "
        "for the best by pre-score only, so that the others have no score.",
    )


def _measures(rows: pl.DataFrame) -> None:
    """All numbers as tiles that wrap; what is NULL says so."""
    row = rows.row(0, named=True)
    if not row["trusted"]:
        st.warning(f"This SAE misses a quality limit, read with care: {row['distrust_reason'] or 'no reason given'}.")
    if row["n_active"] == 0:
        st.info(f"Never active on the {row['n_tokens']:,} tokens looked at.")
    st.caption(_where_measured(row))
    with st.container(horizontal=True):
        _tile("Activation rate", _shown(row["activation_rate"], ".3%"))
        _tile("Active tokens", _shown(row["n_active"], ","))
        _tile("Active documents", _shown(row["n_documents_active"], ","))
        _tile("Mean activation", _shown(row["mean_activation"], ".3f"), "over active tokens")
        _tile("Largest activation", _shown(row["max_activation"], ".3f"))
        _tile("Decoder norm", _shown(row["decoder_norm"], ".3f"))
    if row["candidate"] is None:
        st.info("Not scored: `ato run features` makes scores.")
        return
    with st.container(horizontal=True):
        _tile("Score", _shown(row["score"], ".3f", "not scored"))
        _tile("Rank", "not ranked" if row["rank"] is None else f"{row['rank']:,} of {row['n_ranked']:,}")
        _tile("Selected", "yes" if row["selected"] else "no", "one of the best by score, which the study keeps")
        _tile("Pre-score", _shown(row["pre_score"], ".3f", "not scored"))
        _tile("Token entropy (nats)", _shown(row["token_entropy"], ".3f"), "of the tokens where it is most active")
        _tile("Vocabulary focus (sd)", _shown(row["focus_z"], ".2f"))
        _tile("Redundancy", _shown(row["redundancy"], ".3f"), "largest |correlation| with another feature")
        _tile("Deadness", _shown(row["deadness"], ".1%"), "share of documents in which it is never active")
        _tile("Causal effect (nats)", _effect(row), f"mean over {row['n_ablated']:,} predicted tokens")


def _where_measured(row: dict[str, Any]) -> str:
    on = (
        "nothing yet: `ato run features` measures it"
        if row["n_tokens"] is None
        else f"{row['n_tokens']:,} tokens, {row['measured_on']}"
    )
    return f"Layer {row['layer']}; activity measured on {on}."


def _effect(row: dict[str, Any]) -> str:
    if row["causal_effect"] is None:
        return "not measured"
    if row["causal_effect_low"] is None:
        return f"{row['causal_effect']:.4f}"
    return f"{row['causal_effect']:.4f} [{row['causal_effect_low']:.4f}, {row['causal_effect_high']:.4f}]"


def _shown(value: float | None, format: str, missing: str = "not measured") -> str:
    return missing if value is None else f"{value:{format}}"


def _tile(label: str, value: str, help: str | None = None) -> None:
    st.metric(label, value, help=help, width="content")


def explanations(about: dict[str, Any]) -> None:
    """What the feature is said to be about, by whom, and whether that can be about this very feature."""
    panel(
        "Explanations",
        filled(EXPLANATIONS, **about),
        _explanations,
        note="Aligned: enough of the published top tokens are among those that this SAE's feature promotes, so that the label "
        "can be about the same feature.",
        empty="Nobody has explained this feature: `ato run explain` fetches explanations where the SAE is published.",
    )


def _explanations(rows: pl.DataFrame) -> None:
    aligned = {True: "aligned", False: "NOT aligned: perhaps of another feature", None: "alignment unknown"}
    for row in rows.iter_rows(named=True):
        if row["description"] is not None:
            parts = [row["source"], row["explainer"], row["type_name"], _shown(row["score"], ".3f", "not scored")]
            share = "" if row["alignment"] is None else f" ({row['alignment']:.0%} of the top tokens)"
            said = " · ".join(html.escape(part) for part in parts if part) + f" · {aligned[row['aligned']]}{share}"
            st.html(
                f"<p style='margin:0'>{html.escape(row['description'])}</p><small style='opacity:.7'>{said}</small>"
            )
    for published in rows["neuronpedia_id"].drop_nulls().unique(maintain_order=True):
        st.link_button(
            "On Neuronpedia", f"{NEURONPEDIA}/{quote(published)}/{rows['feature_id'][0]}", icon=":material/open_in_new:"
        )


def neighbours(about: dict[str, Any]) -> None:
    """The features whose activations go most with this one's."""
    panel(
        "Similar features",
        filled(NEIGHBOURS, **about),
        partial(_neighbours, sae=about["sae"]),
        note=f"By |correlation| of the activations: the one most like this feature, and those that this one is most like, at most "
        f"{SHOWN_NEIGHBOURS}. A click on a row's first field opens the feature.",
        empty="No feature is known to be like this one: correlations are measured by `ato run features`.",
    )


def _neighbours(rows: pl.DataFrame, sae: str) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        key="neighbours",
        selection_mode="single-row",
        on_select=partial(_open, rows, sae),
        placeholder="not scored",
        column_config={
            "feature_id": st.column_config.NumberColumn("feature", format="%d"),
            "correlation": st.column_config.NumberColumn("|correlation|", format="%.3f"),
            "promotes": st.column_config.ListColumn("promotes"),
            "score": st.column_config.NumberColumn("score", format="%.3f", width=90),
        },
    )


def _open(rows: pl.DataFrame, sae: str) -> None:
    for place in st.session_state["neighbours"]["selection"]["rows"]:
        open_feature(sae, rows["feature_id"][place])


SCORES = """latest as (
    select evaluation as scoring
    from latest_evaluations
    where collection = $collection and sae = $sae and kind = 'feature_scores' and is_latest
),

scores as (
    select *
    from feature_scores
    semi join latest using (scoring)
    where collection = $collection and sae = $sae
)"""
"""CTEs: the latest scores of the SAE's features."""
MEASURES = f"""with {SCORES},

stats as (
    select *
    from feature_stats
    where collection = $collection and sae = $sae and feature_id = $feature_id
)

select
    a.layer,
    a.trusted,
    a.distrust_reason,
    if(t.feature_id is null, 'scoring stream', 'test split') as measured_on,
    coalesce(t.n_tokens, s.n_tokens) as n_tokens,
    coalesce(t.n_active, s.n_active) as n_active,
    coalesce(t.activation_rate, s.activation_rate) as activation_rate,
    coalesce(t.n_documents_active, s.n_documents_active) as n_documents_active,
    if(t.feature_id is null, s.mean_activation, t.mean_activation) as mean_activation,
    if(t.feature_id is null, s.max_activation, t.max_activation) as max_activation,
    t.decoder_norm,
    s.score,
    s.rank,
    (select count(score) from scores) as n_ranked,
    s.selected,
    s.candidate,
    s.pre_score,
    s.token_entropy,
    s.focus_z,
    s.focus_entropy,
    s.redundancy,
    s.deadness,
    s.causal_effect,
    s.causal_effect_low,
    s.causal_effect_high,
    s.n_ablated
from saes as a
left join stats as t on true
left join scores as s on s.feature_id = $feature_id
where a.collection = $collection and a.sae = $sae"""
EXPLANATIONS = """select feature_id, description, source, explainer, type_name, score, score_type, alignment, aligned, neuronpedia_id
from explanations
where collection = $collection and sae = $sae and feature_id = $feature_id
union all
select $feature_id, null, null, null, null, null, null, null, null, neuronpedia_id
from saes
where collection = $collection and sae = $sae and neuronpedia_id is not null
order by description is null, aligned desc nulls last, score desc nulls last, source"""
NEIGHBOURS = f"""with {SCORES},

own as (
    select redundant_with, redundancy from scores where feature_id = $feature_id
),

pairs as (
    select redundant_with as feature_id, redundancy as correlation from own where redundant_with is not null
    union
    select feature_id, redundancy from scores where redundant_with = $feature_id
),

final as (
    select feature_id, max(correlation) as correlation from pairs group by feature_id
)

select f.feature_id, f.correlation, s.top_tokens[:5] as promotes, s.score
from final as f
left join scores as s using (feature_id)
order by f.correlation desc nulls last, f.feature_id
limit {SHOWN_NEIGHBOURS}"""
