"""The page of SAE studies as a whole: its numbers, its address, and what it says where there is little or nothing."""

from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels, read_page
from tests.tasks.reported_study import SAES as PIPELINE_SAES
from tests.warehouse.sae_study_rows import (
    BASELINES,
    LOADED,
    LOOKED_AT,
    TRAINED,
    Planted,
    commit_study,
    membership,
    quality,
    study_rows,
)
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse

N_PANELS = {"All SAEs": 8, "One SAE": 12}
"""Part of the page -> its panels."""


def begun(folder, **tables):
    """A warehouse with a collection, and with rows of a study."""
    warehouse = Warehouse(folder)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    if tables:
        commit_study(warehouse, "s", tables)


def test_each_number_equals_the_one_of_its_sql(study):
    second = Planted("jumprelu", 8, 0).label
    for address in ({}, {"metric": "loss recovered", "curve": "dead_share", "probe_k": 5, "studied": second}):
        for part, n_panels in N_PANELS.items():
            app = read_page("sae_study", part=part, **address)
            found = check_numbers(app)
            assert not app.error
            assert len(found) == n_panels
            assert [name for name, panel in found.items() if not (panel.drawn or panel.metrics)] == []
            if part == "All SAEs":
                assert set(found["Comparison"].rows["label"]) == {planted.label for planted in (*TRAINED, *BASELINES)}


def test_an_address_that_names_an_sae_shows_that_one_and_any_other_all(study):
    assert set(panels(read_page("sae_study"))) >= {"Comparison", "Emergence"}
    assert set(panels(read_page("sae_study", studied=LOOKED_AT[1].label))) >= {"Feature map", "Clusters"}


def test_the_address_chooses_layer_sae_metric_and_curve(study):
    chosen = LOOKED_AT[1]
    assert open_page("sae_study", curve="l0").session_state["curve"] == "l0"
    app = open_page("sae_study", layer=4, studied=chosen.label, metric="loss recovered", probe_k=5)
    assert app.selectbox(key="studied").value == chosen.sae
    found = panels(app)
    assert set(found["Classes, chosen SAE"].rows["k"]) == {5, 6}
    assert chosen.sae in found["Feature map"].sql
    assert links(app) == []
    assert any("saes.paths" in caption.value and chosen.sae in caption.value for caption in app.caption)


def links(app):
    """Where the link to features of the chosen SAE leads."""
    found = (leaf.proto for leaf in app.get("page_link"))
    return [link.query_string for link in found if link.label.startswith("Features of this SAE")]


def test_an_sae_whose_weights_have_features_on_file_leads_to_them(study):
    assert set(panels(read_page("sae_study", layer=6))["Comparison"].rows["label"]) == {LOADED.label}
    (found,) = links(read_page("sae_study", part="One SAE", layer=6))
    assert f"sae={PIPELINE_SAES[6]}" in found


def test_without_a_study_each_panel_says_how_to_begin(empty):
    begun(empty)
    for part, n_panels in N_PANELS.items():
        app = read_page("sae_study", part=part)
        assert not app.error
        assert len(panels(app)) == len(app.info) == n_panels
        assert all("ato run sae_study" in said.value for said in app.info)


def at_places(folder):
    """A study of SAEs of two sites and of transcoders, at one layer; place -> labels."""
    places = {"resid_post": TRAINED[:3], "mlp_in": TRAINED[3:4], "mlp_in to mlp_out": TRAINED[4:6]}
    rows = {row["sae"]: row for row in study_rows("s")["studied_saes"]}
    saes = [some for several in places.values() for some in several]
    for place, several in places.items():
        site, _, target = place.partition(" to ")
        for some in several:
            rows[some.sae] |= {"site": site, "target_site": target or None, "has_skip": bool(target)}
    metrics = [metric for some in saes for metric in quality(some)]
    begun(
        folder,
        studied_saes=[rows[some.sae] for some in saes],
        sae_studies=membership("s", saes),
        sae_quality=metrics,
    )
    return {place: {some.label for some in several} for place, several in places.items()}


def test_saes_of_each_site_and_transcoders_are_shown_apart(empty):
    places = at_places(empty)
    assert open_page("sae_study").selectbox(key="site").value == "resid_post"  # of most SAEs
    for place, labels in places.items():
        app = open_page("sae_study", site=place)
        assert not app.error
        assert set(app.selectbox(key="site").options) == set(places)
        found = check_numbers(app)
        for name in ("Comparison", "L0 against error"):
            assert set(found[name].rows["label"]) == labels, (place, name)
        app = open_page("sae_study", part="One SAE", site=place)
        assert set(app.selectbox(key="studied").options) == labels
        (said,) = [caption.value for caption in app.caption if "logit lens" in caption.value]
        assert ("saes.paths" in said) == (" to " not in place)
        assert ("collect.site=mlp_in" in said.replace("\\", "")) == (place == "mlp_in")


def test_a_single_sae_that_was_only_judged_and_metrics_that_are_null_are_shown(empty):
    (alone,) = [planted for planted in TRAINED if planted == Planted("topk", 4, 1)]
    nothing = [metric | {"value": None, "low": None, "high": None, "reason": "no text"} for metric in quality(alone)]
    own = [found for found in study_rows("s")["studied_saes"] if found["sae"] == alone.sae]
    begun(empty, studied_saes=own, sae_studies=membership("s", [alone]), sae_quality=nothing)
    app = read_page("sae_study")
    assert not app.error
    found = check_numbers(app)
    assert found["Comparison"].rows["fvu"].to_list() == [None]
    assert found["L0 against error"].informed, "nothing to draw"
    assert len(found) == N_PANELS["All SAEs"]


def test_saes_without_an_active_feature_have_no_frontier_and_the_page_says_so(empty):
    silent = TRAINED[:2]
    metrics = [
        metric | ({"value": 0.0} if metric["metric"] == "l0" else {}) for one in silent for metric in quality(one)
    ]
    own = [found for found in study_rows("s")["studied_saes"] if found["sae"] in {one.sae for one in silent}]
    begun(empty, studied_saes=own, sae_studies=membership("s", silent), sae_quality=metrics)
    app = open_page("sae_study")
    assert not app.error
    for name in ("L0 against error", "L0 against loss"):
        assert panels(app)[name].informed
        assert not panels(app)[name].drawn
    assert any("No SAE here has an active feature" in text for text in messages(app))


def test_a_study_that_was_not_finished_says_so(empty):
    tables = study_rows("s")
    of_one = [metric for metric in tables["sae_quality"] if metric["sae"] == TRAINED[0].sae]
    own = {"studied_saes": tables["studied_saes"], "sae_studies": membership("s", TRAINED[:3])}
    begun(empty, **own, sae_quality=of_one)
    (said,) = (text for text in messages(read_page("sae_study")) if "not complete" in text)
    assert "1 of its 3 SAEs are judged" in said
