"""One feature in numbers: how often it is active, and how it scores."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import filled
from dashboards.views.features.latest import LATEST_SCORES

MEASURES = f"""with {LATEST_SCORES},

stats as (
    select *
    from feature_stats
    where collection = $collection and sae = $sae and feature_id = $feature_id
)

select
    a.layer,
    a.trusted,
    a.distrust_reason,
    if(t.feature_id is null, 'train text', 'test text') as measured_on,
    coalesce(t.n_tokens, s.n_tokens) as n_tokens,
    coalesce(t.n_active, s.n_active) as n_active,
    coalesce(t.activation_rate, s.activation_rate) as activation_rate,
    coalesce(t.n_documents_active, s.n_documents_active) as n_documents_active,
    if(t.feature_id is null, s.mean_activation, t.mean_activation) as mean_activation,
    t.max_activation as max_activation_test,
    s.max_activation as max_activation_train,
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
    s.n_ablated,
    s.n_ablated_documents
from saes as a
left join stats as t on true
left join scores as s on s.feature_id = $feature_id
where a.collection = $collection and a.sae = $sae"""


def measures(about: dict[str, Any]) -> None:
    """Activity and score of the feature, with all components of the score."""
    panel(
        f"Feature {about['feature_id']} of {about['sae']}",
        filled(MEASURES, **about),
        _measures,
        note="The score combines low token entropy, vocabulary focus, causal effect, low redundancy and low inactive "
        "share, each scaled over the features of the SAE. Vocabulary focus: largest logit of the decoder row, in "
        "standard deviations above the mean. Causal effect: increase in next-token loss after ablating the feature, "
        "with its 95 % interval by document; measured for the candidates (best by pre-score) only, so other features "
        "have no score.",
    )


def _measures(rows: pl.DataFrame) -> None:
    """All numbers as tiles; NULL is named, never shown as 0."""
    row = rows.row(0, named=True)
    if not row["trusted"]:
        st.warning(
            "This SAE fails a quality threshold, interpret with care: "
            f"{plain(row['distrust_reason'] or 'no reason recorded')}."
        )
    if row["n_active"] == 0:
        st.info(f"Never active on {row['n_tokens']:,} tokens.")
    st.caption(_where_measured(row))
    with st.container(horizontal=True):
        _tile("Activation rate", shown(row["activation_rate"], ".3%"))
        _tile("Active tokens", shown(row["n_active"], ","))
        _tile("Active documents", shown(row["n_documents_active"], ","))
        _tile("Mean activation", shown(row["mean_activation"], ".3f"), "over active tokens")
        _tile("Largest activation, test text", shown(row["max_activation_test"], ".3f"))
        if row["candidate"] is not None:
            _tile(
                "Largest activation, train text",
                shown(row["max_activation_train"], ".3f"),
                "over the train tokens on which features are scored, from which the examples below are",
            )
        _tile("Decoder norm", shown(row["decoder_norm"], ".3f"))
    if row["candidate"] is None:
        st.info("Not scored yet: run `ato run features`.")
        return
    with st.container(horizontal=True):
        _tile("Score", shown(row["score"], ".3f", "not scored"))
        _tile("Rank", "not ranked" if row["rank"] is None else f"{row['rank']:,} of {row['n_ranked']:,}")
        _tile("Selected", "yes" if row["selected"] else "no", "among the top features by score")
        _tile("Pre-score", shown(row["pre_score"], ".3f", "not scored"))
        _tile(
            "Token entropy (nats)", shown(row["token_entropy"], ".3f"), "of the token ids at its strongest activations"
        )
        _tile("Vocabulary focus (sd)", shown(row["focus_z"], ".2f"))
        _tile("Redundancy", shown(row["redundancy"], ".3f"), "largest |correlation| with another feature")
        _tile("Inactive share", shown(row["deadness"], ".1%"), "share of documents in which it never fires")
        n_documents = row["n_ablated_documents"]
        _tile(
            f"Causal effect (nats), {n_documents:,} documents" if n_documents else "Causal effect (nats)",
            _effect(row),
            f"mean over {row['n_ablated']:,} predicted tokens of validation text",
        )


def _where_measured(row: dict[str, Any]) -> str:
    on = (
        "not measured yet: run `ato run features`"
        if row["n_tokens"] is None
        else f"{row['n_tokens']:,} tokens, {row['measured_on']}"
    )
    return f"Layer {row['layer']}. Activity: {on}."


def _effect(row: dict[str, Any]) -> str:
    if row["causal_effect"] is None:
        return "not measured"
    if row["causal_effect_low"] is None:
        return f"{row['causal_effect']:.4f}"
    return f"{row['causal_effect']:.4f} [{row['causal_effect_low']:.4f}, {row['causal_effect_high']:.4f}]"


def shown(value: float | None, format: str, missing: str = "not measured") -> str:
    """A value in a format, or the words for a missing one."""
    return missing if value is None else f"{value:{format}}"


def _tile(label: str, value: str, help: str | None = None) -> None:
    st.metric(label, value, help=help, width="content")
