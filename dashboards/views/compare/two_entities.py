"""Panels of two entities."""

import polars as pl
import streamlit as st

from dashboards.views.compare.sided import score


def _answers(rows: pl.DataFrame) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="–",
        column_order=[
            "attribute",
            "family",
            "side",
            "right_answer",
            "completion",
            "grade",
            "p_correct",
            "log_probability",
        ],
        column_config={
            "right_answer": "right answer",
            "completion": st.column_config.TextColumn("completion", width="medium"),
            "p_correct": score("p correct"),
            "log_probability": score("log-probability (nats)"),
        },
    )


def _latents(rows: pl.DataFrame) -> None:
    whole = st.column_config.NumberColumn
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="–",
        column_config={
            "direction": "higher on",
            "layer": whole("layer", format="%d"),
            "feature_id": whole("feature", format="%d"),
            "left_activation": score("activation, left"),
            "right_activation": score("activation, right"),
            "difference": score("right less left"),
            "promotes": st.column_config.ListColumn("promotes"),
        },
    )


DRAW = {"Answers": _answers, "Active features": _latents}
