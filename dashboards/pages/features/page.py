"""Page ``features``: finding features of the SAEs by what they are about, and all that is known of one of them."""

import streamlit as st

from dashboards.pages.features import overview
from dashboards.pages.features import search as features_search
from dashboards.pages.features.causal import effects
from dashboards.pages.features.examples import examples
from dashboards.pages.features.logit_lens import words
from dashboards.pages.features.measures import explanations, measures, neighbours
from dashboards.pages.features.transport import transport
from dashboards.ui.address import collection
from dashboards.ui.reading import ask, filled


def page() -> None:
    """Draw the page: the feature that the address names, else the search and the whole of the SAEs."""
    key = collection()
    saes = ask(filled(SAES, collection=key))
    if saes.is_empty():
        st.info("This collection has no SAE yet. `ato run saes` trains or loads them, `ato run features` scores them.")
        return
    found = _wanted(key, saes["sae"].to_list())
    if found is not None:
        sae, feature_id = found
        known = saes.filter(saes["sae"] == sae)
        if known.is_empty():
            st.warning(f"This collection has no SAE {sae!r}: choose one below.")
        elif not 0 <= feature_id < known["d_sae"][0]:
            st.warning(f"{sae} has no feature {feature_id}: its features are 0 to {known['d_sae'][0] - 1:,}.")
        else:
            _one(key, sae, feature_id, known["layer"][0])
            return
    search = features_search.controls(key, saes["sae"].to_list())
    features_search.results(search)
    st.button("Surprise me", icon=":material/casino:", on_click=_surprise, help="A selected feature at random.")
    overview.overview(search)


def _wanted(key: str, saes: list[str]) -> tuple[str, int] | None:
    """SAE and id of the feature that the address names, or that its ``surprise`` stands for; None for the search."""
    sae, text = st.query_params.get("sae"), st.query_params.get("feature_id")
    if text is None and (number := st.query_params.get("surprise")) is not None:
        drawn = ask(filled(SURPRISE, collection=key, saes=[sae] if sae in saes else saes, number=number))
        return None if drawn.is_empty() else (drawn["sae"][0], drawn["feature_id"][0])
    if text is None:
        return None
    if not text.removeprefix("-").isdecimal():
        st.warning(f"feature_id={text!r} in the address is no number.")
        return None
    if sae is None and len(saes) > 1:
        st.warning(f"The address names feature {text} and no SAE: search for the id below, and click on its row.")
        return None
    return sae or saes[0], int(text)


def _one(key: str, sae: str, feature_id: int, layer: int) -> None:
    """All panels about one feature; the broad ones in the middle, the narrow ones beside each other."""
    about = {"collection": key, "sae": sae, "feature_id": feature_id, "layer": layer}
    with st.container(horizontal=True):
        st.button("Back to the search", icon=":material/arrow_back:", on_click=_leave)
        st.button("Surprise me", icon=":material/casino:", on_click=_surprise, help="A selected feature at random.")
    measures(about)
    left, right = st.columns([3, 2])
    with left:
        examples(about)
    with right:
        explanations(about)
        words(about)
    transport(about)
    left, right = st.columns(2)
    with left:
        effects(about)
    with right:
        neighbours(about)


def _leave() -> None:
    """Take the feature out of the address; what was searched for stays in it."""
    for name in ("feature_id", "surprise"):
        st.query_params.pop(name, None)
    if "searched SAE" in st.session_state and st.session_state.pop("searched SAE") is None:
        st.query_params.pop("sae", None)


def _surprise() -> None:
    """Put the next number into the address; equal numbers stand for equal features."""
    seen = st.session_state.get("surprises", st.query_params.get("surprise", "0"))
    following = int(seen) + 1 if str(seen).isdecimal() else 1
    st.session_state["surprises"] = following
    st.query_params.pop("feature_id", None)
    st.query_params["surprise"] = str(following)


SAES = """select sae, layer, d_sae
from saes
where collection = $collection
order by layer, sae"""
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
