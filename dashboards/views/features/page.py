"""Page ``features``: search for features of the SAEs, and everything known about one feature."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.address import choose, collection, whole
from dashboards.ui.compare_link import compare_with
from dashboards.ui.lists import notes, own_lists
from dashboards.ui.navigation import link, name_tab
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.views.features.causal import causal_effect
from dashboards.views.features.distributions import distributions
from dashboards.views.features.examples import examples, windows
from dashboards.views.features.explanations import explanations
from dashboards.views.features.label import label
from dashboards.views.features.labelled import is_labelled, labels_alone
from dashboards.views.features.labelling import labelling
from dashboards.views.features.logit_lens import logit_lens
from dashboards.views.features.measures import measures
from dashboards.views.features.named import KnownSAE, named_feature
from dashboards.views.features.neighbours import neighbours
from dashboards.views.features.own_text import own_text
from dashboards.views.features.search import controls, open_feature, results
from dashboards.views.features.steering import steering
from dashboards.views.features.transport import transport

KNOWN, LABELLED = "What it does", "What its label rests on"
"""Parts of the page of a labelled feature."""

SAES = """select sae, layer, d_sae
from saes
where collection = $collection
order by layer, sae"""


def page() -> None:
    """Draw the page: the feature that the address names, else the search and the distributions."""
    key = collection()
    saes = ask(filled(SAES, collection=key))
    alone = labels_alone(key)
    if (of_key := alone.filter(alone["sae"] == st.query_params.get("sae", ""))).height:
        _labels_alone(key, of_key.row(0, named=True))
        return
    if saes.is_empty():
        st.info("No SAEs yet: run `ato run saes`, then `ato run features`.")
        return
    found = _wanted(key, saes["sae"].to_list())
    if found is not None:
        sae, feature_id = found
        known = saes.filter(saes["sae"] == sae)
        if known.is_empty():
            st.warning(f"No SAE {plain(repr(sae))} in this collection. Choose one below.")
        elif not 0 <= feature_id < known["d_sae"][0]:
            st.warning(f"{plain(sae)} has no feature {feature_id}: valid ids are 0 to {known['d_sae'][0] - 1:,}.")
        else:
            _one(key, sae, feature_id, known["layer"][0])
            return
    search = controls(key, saes["sae"].to_list())
    _open_named(search.text, saes)
    results(search)
    st.button("Random feature", icon=":material/casino:", on_click=_surprise, help="Open a random selected feature")
    distributions(search)


def _open_named(text: str, saes: pl.DataFrame) -> None:
    """Open the one feature that a newly typed search names; the way back leads to the search with the same text."""
    is_new = text != st.session_state.get("opened by name")
    st.session_state["opened by name"] = text
    if is_new and (named := named_feature(text, map(KnownSAE._make, saes.iter_rows()))) is not None:
        open_feature(*named)
        st.rerun()


SURPRISE = """with latest as (
    select evaluation as scoring, sae
    from latest_evaluations
    where collection = $collection and kind = 'feature_scores' and is_latest
)

select sae, feature_id
from feature_scores
semi join latest using (scoring, sae)
where collection = $collection and sae in $saes
order by selected desc, md5(concat_ws(' ', $number, sae, feature_id))
limit 1"""


def _wanted(key: str, saes: list[str]) -> tuple[str, int] | None:
    """SAE and id of the feature that the address names, directly or by its ``surprise`` number; None for the search."""
    sae, text = st.query_params.get("sae"), st.query_params.get("feature_id")
    if text is None and (number := st.query_params.get("surprise")) is not None:
        drawn = ask(filled(SURPRISE, collection=key, saes=[sae] if sae in saes else saes, number=number))
        return None if drawn.is_empty() else (drawn["sae"][0], drawn["feature_id"][0])
    if text is None:
        return None
    feature_id = whole(text.removeprefix("-"))
    if feature_id is None:
        st.warning(f"feature_id={plain(repr(text[:40]))} in the address is not the number of a feature.")
        return None
    if sae is None and len(saes) > 1:
        st.warning(f"The address names feature {text} but no SAE. Search for the id below.")
        return None
    return sae or saes[0], -feature_id if text.startswith("-") else feature_id


def _one(key: str, sae: str, feature_id: int, layer: int) -> None:
    """All panels about one feature."""
    name_tab(f"Feature {feature_id} of {sae}", "Features")
    about = {"collection": key, "sae": sae, "feature_id": feature_id, "layer": layer}
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Back to search", icon=":material/arrow_back:", on_click=_leave)
        st.button("Random feature", icon=":material/casino:", on_click=_surprise, help="Open a random selected feature")
        own_lists(key, sae=sae, feature_id=feature_id)
        compare_with("feature", f"{sae}/{feature_id}")
    if is_labelled(about) and _part() == LABELLED:
        label(about)
        labelling(about)
    else:
        _known(about)


def _part() -> str | None:
    """The chosen part; an address that names a judge or a test asks for the label."""
    asked = LABELLED if {"judge", "test"} & set(st.query_params) else KNOWN
    return choose("Part", "part", (KNOWN, LABELLED), default=asked, widget="segmented_control")


def _known(about: dict[str, Any]) -> None:
    """What is known of a feature apart from the judges' trials, and what one can try on it."""
    measures(about)
    left, right = st.columns([3, 2])
    with left:
        examples(about)
    with right:
        label(about)
        explanations(about)
        logit_lens(about)
        notes(about["collection"], sae=about["sae"], feature_id=about["feature_id"])
    transport(about)
    left, right = st.columns(2)
    with left:
        causal_effect(about)
    with right:
        neighbours(about)
    own_text(about)
    steering(about)


def _labels_alone(key: str, of_key: dict[str, Any]) -> None:
    """What is known of a neuron, or of a feature of an SAE that has labels only."""
    sae, layer, source = of_key["sae"], of_key["layer"], of_key["source"]
    text = st.query_params.get("feature_id", "")
    number = whole(text)
    about = {"collection": key, "sae": sae, "feature_id": -1 if number is None else number, "layer": layer}
    about["in_sae"] = False
    link("All labels", "labels")
    if not is_labelled(about):
        st.warning(f"{plain(sae)} has no label of number {plain(repr(text[:40]))}. Choose one of the labels.")
        return
    what = "Neuron" if source == "neurons" else "Feature"
    name_tab(f"{what} {text} of {sae}", "Features")
    st.subheader(f"{what} {text} of {plain(sae)}, layer {layer}", anchor=False)
    listable = source in ("sae", "transcoder")  # known by their weights
    if listable:
        own_lists(key, sae=sae, feature_id=about["feature_id"])
    left, right = st.columns([3, 2])
    with left:
        windows(about)
    with right:
        label(about)
        if listable:
            notes(key, sae=sae, feature_id=about["feature_id"])
    labelling(about)


def _leave() -> None:
    """Remove the feature from the address and keep the search."""
    for name in ("feature_id", "surprise"):
        st.query_params.pop(name, None)
    if "searched SAE" in st.session_state and st.session_state.pop("searched SAE") is None:
        st.query_params.pop("sae", None)


def _surprise() -> None:
    """Put the next number into the address; equal numbers give equal features."""
    seen = st.session_state.get("surprises", st.query_params.get("surprise", "0"))
    following = (whole(str(seen)) or 0) + 1
    st.session_state["surprises"] = following
    st.query_params.pop("feature_id", None)
    st.query_params["surprise"] = str(following)
