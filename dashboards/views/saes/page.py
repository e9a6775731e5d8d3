"""Page ``saes``: how well the sparse autoencoders reconstruct, how they were trained, which features never fire."""

import streamlit as st

from dashboards.ui.address import choose, collection
from dashboards.ui.compare_link import compare_with
from dashboards.ui.navigation import link
from dashboards.ui.reading import ask, filled
from dashboards.views.saes.quality import activation_rates, dead_features, quality, sparsity
from dashboards.views.saes.references import references
from dashboards.views.saes.training import training

NAMES = "select sae from saes where collection = $collection order by layer, sae"


def page() -> None:
    """Draw the page."""
    key = collection()
    references(key)
    quality(key)
    left, right = st.columns(2)
    with left:
        sparsity(key)
    with right:
        dead_features(key)
    training(key)
    link("SAE study: many compared", "sae_study")
    sae = choose("SAE", "sae", ask(filled(NAMES, collection=key))["sae"].to_list())
    if sae is None:
        return
    activation_rates(key, sae)
    with st.container(horizontal=True):
        link("Features of this SAE", "features", sae=sae)
        compare_with("sae", sae)
