"""What a label rests on: where its feature or neuron fires, how each judge's label scores, and the trials."""

from typing import Any

import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.reading import ask, filled
from dashboards.views.features.evidence import fires_with, histogram, strata
from dashboards.views.features.label import JUDGES, label_scores
from dashboards.views.features.trials import trials


def labelling(about: dict[str, Any]) -> None:
    """The panels of something that is labelled; the judge is chosen among those that labelled it."""
    left, right = st.columns(2)
    with left:
        histogram(about)
        fires_with(about)
    with right:
        strata(about)
    judges = ask(filled(JUDGES, **about))["judge"].to_list()
    judged = about | {"judge": choose("Judge", "judge", judges)}
    label_scores(judged)
    trials(judged)
