"""Page ``fate``: what becomes of features between layers, by every view, and the life of one."""

import streamlit as st

from dashboards.ui.address import choose, collection, typed, whole
from dashboards.ui.declared_panel import draw_panel
from dashboards.ui.navigation import link
from dashboards.ui.reading import ask, filled
from dashboards.views.fate.counts import FATES_BY_PAIR, VIEWS_AGREE
from dashboards.views.fate.life import LIFE_OF_A_FEATURE, draw_life
from dashboards.views.fate.scatter import PREDICTED_AND_CAUSED

SAES = """select distinct l.layer, l.sae
from feature_links as l
where l.collection = $collection
order by l.layer desc, l.sae"""

FIRST = """select feature_id
from feature_fate
where collection = $collection and sae = $sae
order by agreement is null, source_sae is null, views_disagree desc, feature_id
limit 1"""


def page() -> None:
    """Draw the page."""
    key = collection()
    left, right = st.columns([2, 3])
    with left:
        draw_panel(FATES_BY_PAIR, collection=key)
    with right:
        draw_panel(VIEWS_AGREE, collection=key)
    draw_panel(PREDICTED_AND_CAUSED, collection=key)
    saes = ask(filled(SAES, collection=key))["sae"].to_list()
    if not saes:
        return
    place, number = st.columns(2)
    sae = choose("SAE", "sae", saes, where=place)
    first = ask(filled(FIRST, collection=key, sae=sae))
    start = "0" if first.is_empty() else str(first["feature_id"][0])
    feature_id = whole(typed("Feature", "feature_id", start=start, where=number))
    if feature_id is None:
        st.warning("Enter a feature id, counted from 0.")
        return
    about = {"collection": key, "sae": sae, "feature_id": feature_id}
    draw_panel(LIFE_OF_A_FEATURE, draw_life, **about)
    link("All about this feature", "features", sae=sae, feature_id=about["feature_id"])
