"""Panels of two entities."""

import polars as pl
import streamlit as st

from dashboards.ui.tables import table
from dashboards.views.compare.sided import score


def _answers(rows: pl.DataFrame) -> None:
    table(
        rows,
        {
            "right_answer": "right answer",
            "completion": st.column_config.TextColumn("completion", width="medium"),
            "p_correct": score("p correct"),
            "log_probability": score("log-probability (nats)"),
        },
        order=[
            "attribute",
            "family",
            "side",
            "right_answer",
            "completion",
            "grade",
            "p_correct",
            "log_probability",
        ],
    )


def _latents(rows: pl.DataFrame) -> None:
    table(
        rows,
        {
            "direction": "higher on",
            "layer": st.column_config.NumberColumn("layer", format="%d"),
            "feature_id": st.column_config.NumberColumn("feature", format="%d"),
            "left_activation": score("activation, left"),
            "right_activation": score("activation, right"),
            "difference": score("right less left"),
            "promotes": st.column_config.ListColumn("promotes"),
            "sae": "SAE",
        },
    )


DRAW = {"Answers": _answers, "Active features": _latents}
