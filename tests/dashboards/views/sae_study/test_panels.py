"""What the panels of the page show, on planted differences: each part of the page is opened once."""

import polars as pl
import pytest

from tests.dashboards.opened_pages import chart_specs, panels, read_page
from tests.warehouse.sae_study_rows import (
    AGREEMENT,
    AUROC,
    BASELINE_FVU,
    D_SAE,
    EMERGED,
    FVU,
    LOOKED_AT,
    N_ABLATED,
    TRAINED,
    Planted,
)


@pytest.fixture(scope="module")
def opened(study_root):
    """Both parts of the page, as they open on the planted study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(study_root))
        patch.setattr("dashboards.ui.panels.OPENED", True)
        return [read_page("sae_study", part=part) for part in ("All SAEs", "One SAE")]


@pytest.fixture(scope="module")
def shown(opened):
    """Its panels."""
    return {name: panel for part in opened for name, panel in panels(part).items()}


def test_seeds_are_points_with_intervals_and_baselines_stand_in_the_same_chart(shown):
    rows = shown["L0 against error"].rows
    topk = rows.filter((pl.col("architecture") == "topk") & (pl.col("k") == 4))
    assert topk["fvu"].to_list() == pytest.approx([Planted("topk", 4, seed).fvu for seed in (0, 1)])
    assert topk["mean_value"].to_list() == pytest.approx([FVU["topk"]] * 2)
    assert (topk["fvu_high"] - topk["fvu_low"]).to_list() == pytest.approx([0.04] * 2)
    assert set(rows.filter(pl.col("role") == "baseline")["architecture"]) == set(BASELINE_FVU)


def test_an_architecture_has_one_colour_in_all_charts(opened):
    found = set()

    def collect(node):
        if isinstance(node, dict):
            scale = node.get("color", {}).get("scale", {}) if isinstance(node.get("color"), dict) else {}
            found.update(zip(map(str, scale.get("domain", [])), scale.get("range", [])))
            list(map(collect, node.values()))
        elif isinstance(node, list):
            list(map(collect, node))

    for part in opened:
        list(map(collect, chart_specs(part)))
    assert {colour for name, colour in found if name == "topk"} == {"#0072B2"}
    assert len({colour for name, colour in found if name in (*FVU, *BASELINE_FVU)}) == len(FVU) + len(BASELINE_FVU)


def test_only_what_exceeds_the_spread_over_seeds_is_called_better(shown):
    rows = {(r["architecture"], r["k"]): r for r in shown["Is one better?"].rows.iter_rows(named=True)}
    assert rows["batchtopk", 4]["better_than_next"] == "yes"
    assert rows["topk", 4]["better_than_next"] == "no: within the spread"
    assert rows["batchtopk", 8]["better_than_next"] == "unknown: too few seeds"
    assert rows["jumprelu", 4]["beats_baselines"] == "yes, at unequal L0"
    assert rows["pca", 4]["beats_baselines"] is None


def test_every_pair_of_seeds_stands_in_the_matrix_both_ways(shown):
    rows = shown["Agreement between seeds"].rows
    assert rows.height == 2 * len(AGREEMENT)
    assert dict(rows.select("architecture", "mean_cosine").rows()) == AGREEMENT


def test_training_has_the_curves_of_what_was_trained_here_only(shown):
    rows = shown["Training curves"].rows
    assert set(rows["sae"]) == {planted.sae for planted in TRAINED}
    assert rows["tokens"].max() == 4000


def test_emergence_and_the_events_of_one_sae_add_up(shown):
    curve = shown["Emergence"].rows.filter(pl.col("sae") == LOOKED_AT[0].sae)
    assert curve["emerged_share"].to_list() == pytest.approx([2 / 12, 6 / 12, 1])
    events = shown["Emerged, born, died"].rows
    assert events.filter(pl.col("event") == "emerged")["n"].to_list() == list(EMERGED.values())
    assert events.filter(pl.col("event") == "died")["n"].sum() == 1
    split = shown["Split and drifted features"].rows.filter(pl.col("split_from").is_not_null())
    assert split["feature_id"].sort().to_list() == [4, 5]


def test_rates_count_every_feature_once_in_the_end_and_at_each_snapshot(shown):
    assert shown["Activation rates of the SAE"].rows["n_features"].sum() == D_SAE
    assert "1 of 12 features never fire" in shown["Activation rates of the SAE"].note
    heat = shown["Activation rates over training"].rows
    assert heat.group_by("step").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1, 1, 1])


def test_the_map_has_tokens_nearest_feature_and_cluster_with_unstable_ones_marked(shown):
    rows = {r["feature_id"]: r for r in shown["Feature map"].rows.iter_rows(named=True)}
    assert len(rows) == D_SAE
    assert (rows[0]["tokens"], rows[0]["nearest"], rows[0]["shown_cluster"]) == (" t0 | <own0>", 1, "cluster 0")
    assert [rows[f]["stability"] for f in (0, 5, 11)] == ["stable", "not stable", "not stable"]
    assert rows[11]["shown_cluster"] == "in no cluster"


def test_the_heat_map_holds_activations_as_shares_of_the_largest(shown):
    rows = shown["Activations on tokens"].rows
    cell = {(r["feature_id"], r["token"]): r for r in rows.iter_rows(named=True)}
    assert cell[3, " t0"]["share"] == 1
    assert cell[3, "<own3>"]["share"] == 0.5 / 4
    assert (cell[3, " t0"]["n_sharing"], cell[3, "<own3>"]["n_sharing"]) == (4, 1)
    assert 11 not in rows["feature_id"], "it never fires"


def test_probes_stand_beside_random_features_and_the_whole_residual(shown):
    rows = shown["Probing"].rows.filter(pl.col("sae") == TRAINED[0].sae)
    assert dict(rows.select("reader", "auroc").rows()) == pytest.approx({r: a - 0.025 for r, a in AUROC.items()})
    classes = shown["Classes, chosen SAE"].rows
    assert classes.filter(pl.col("auroc").is_null())["value"].unique().to_list() == ["sport"]
    assert classes["reason"].drop_nulls().str.contains("fewer than 10").all()


def test_clusters_families_and_effects_show_what_was_planted(shown):
    assert shown["Clusters"].rows["stable"].to_list() == [True, False, None]
    family = shown["Families across layers"].rows.row(0, named=True)
    assert (family["alike_by_cosine"], family["active_together"]) == (6, 2)
    features = shown["Alike by direction, alike by activity?"].rows
    assert set(features["transport_cosine"]) == {None}
    effects = shown["Attribution: gradient against ablation"]
    ablated = effects.rows.filter(pl.col("ablation_effect").is_not_null())
    assert ablated.height == N_ABLATED
    assert (ablated["ablation_effect"] / ablated["predicted"]).to_list() == pytest.approx([1.2] * N_ABLATED)
    assert effects.metrics == ("0.900",)
