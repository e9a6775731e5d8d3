"""The stage ``fate`` on a model whose features have known lives: every view, the marts, and nothing made twice."""

from dataclasses import replace

import pytest

from ato.causal.source_ablation import DIRECTIONS
from ato.errors import SettingsError
from tasks.fate.task import follow_features
from tests.tasks.fate.planted_lives import (
    CARRIED,
    COMPUTED,
    LAYERS,
    REWRITTEN,
    SOURCE_OF_REWRITTEN,
    D,
    plant,
    planted_study,
)
from warehouse.catalog.catalog import rows
from warehouse.quality.checks import check_all, failures
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The study with its fates; the warehouse is the one of the environment meanwhile."""
    folder = tmp_path_factory.mktemp("fate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        plant(patch)
        found = planted_study(folder)
        follow_features.fn(found.study, found.saes, found.plan)
        yield found


def fate_of(planted, feature: int, source: int) -> dict:
    (row,) = rows(
        None,
        "from feature_fate where sae = ? and feature_id = ? and source_layer = ?",
        [planted.saes[-1], feature, source],
    )
    return row


def test_planted_features_have_the_fates_that_they_were_given(planted):
    for source, rewritten, computed in ((1, "rewritten", "computed"), (2, "carried", "carried")):
        assert fate_of(planted, CARRIED, source)["fate"] == "carried"
        assert fate_of(planted, REWRITTEN, source)["fate"] == rewritten
        assert fate_of(planted, COMPUTED, source)["fate"] == computed


def test_a_carried_feature_is_seen_by_every_view(planted):
    row = fate_of(planted, CARRIED, 1)
    assert row["r2"] == pytest.approx(1, abs=1e-3)
    assert row["r2_identity"] == pytest.approx(1, abs=1e-6)
    assert row["r2_null"] < 0.1 < row["ceiling"] <= 1
    assert (row["nearest_feature"], row["transport_feature"]) == (CARRIED, CARRIED)
    assert row["decoder_cosine"] == pytest.approx(1)
    assert row["decoder_cosine_chance"] < 0.95
    for share in ("through", "through_transported", "agreement", "slope"):
        assert row[share] == pytest.approx(1, abs=0.02), share
        assert row[f"{share}_low"] <= row[share] <= row[f"{share}_high"]
    assert row["not_transported"] == pytest.approx(0, abs=0.02)
    assert (row["n_views_transported"], row["n_views_computed"]) == (5, 0)
    assert not row["views_disagree"]


def test_a_rewritten_feature_comes_through_another_one_and_views_disagree(planted):
    row = fate_of(planted, REWRITTEN, 1)
    assert (row["nearest_feature"], row["transport_feature"]) == (REWRITTEN, SOURCE_OF_REWRITTEN)
    assert row["through"] == pytest.approx(0, abs=0.02)
    assert row["through_transported"] == pytest.approx(1, abs=0.02)
    assert row["agreement"] == pytest.approx(1, abs=0.02)
    assert row["agreement_identity"] < 0.3
    said = {name: row[f"verdict_{name}"] for name in ("ridge", "identity", "decoder", "pathway", "causal")}
    assert said == {
        "ridge": "transported",
        "identity": "computed",
        "decoder": "transported",
        "pathway": "transported",
        "causal": "transported",
    }
    assert row["views_disagree"]
    assert row["verdict_jacobian"] is None


def test_a_computed_feature_does_not_change_as_any_operator_says(planted):
    row = fate_of(planted, COMPUTED, 1)
    assert row["r2"] < 0.3
    assert row["not_transported"] > 0.5
    assert row["agreement"] < 0.3
    assert row["verdict_causal"] == "computed"
    assert row["measured"] > 3 * row["predicted"]


def test_lives_are_born_where_they_were_planted_and_reach_the_last_layer(planted):
    lives = {
        feature: rows(
            None, "from feature_life where sae = ? and feature_id = ? order by layer", [planted.saes[-1], feature]
        )
        for feature in (CARRIED, REWRITTEN, COMPUTED)
    }
    for feature, (born, seen) in {CARRIED: (1, False), REWRITTEN: (1, False), COMPUTED: (2, True)}.items():
        life = lives[feature]
        assert [row["layer"] for row in life] == list(LAYERS)
        assert life[-1]["fate"] == "home"
        assert {(row["born_at"], row["birth_seen"], row["lives_until"]) for row in life} == {(born, seen, 3)}
    ahead = rows(
        None, "from feature_life where sae = ? and layer > home_layer order by feature_id, layer", [planted.saes[0]]
    )
    assert len(ahead) == 2 * D
    assert {row["fate"] for row in ahead} == {"carried"}, "each axis is a feature of the later SAEs too"
    assert {row["transport_feature"] for row in ahead if row["feature_id"] == SOURCE_OF_REWRITTEN} == {REWRITTEN}


def test_kappa_is_that_of_the_table_of_verdicts(planted):
    from sklearn.metrics import cohen_kappa_score

    found = rows(None, "from fate_agreement where target_layer = 3 and source_layer = 1")
    fates = rows(None, "from feature_fate where target_layer = 3 and source_layer = 1")
    assert {(row["view"], row["against"]) for row in found} >= {("ridge", "identity"), ("ridge", "causal")}
    for row in found:
        pairs = [
            (fate[f"verdict_{row['view']}"], fate[f"verdict_{row['against']}"])
            for fate in fates
            if {fate[f"verdict_{row['view']}"], fate[f"verdict_{row['against']}"]} <= {"transported", "computed"}
        ]
        assert row["n"] == row["n_features"] == len(pairs)
        if row["kappa"] is None:
            assert len({pair[0] for pair in pairs}) == 1
            assert len({pair[1] for pair in pairs}) == 1
        else:
            assert row["kappa"] == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))
            assert row["kappa_low"] <= row["kappa"] <= row["kappa_high"]


def test_tables_pass_every_check_and_hold_each_direction_once(planted):
    assert failures(check_all(Warehouse())) == []
    found = rows(None, "select direction, count(*) as n from feature_ablations group by all order by all")
    assert found == [{"direction": name, "n": 3 * 4} for name in sorted(DIRECTIONS)]
    links = rows(None, "select count(*) as n from feature_links")
    assert links == [{"n": 3 * 2 * D}]


def test_a_second_run_does_nothing_and_other_batches_are_no_other_run(planted):
    before = {(run.stage, run.key) for run in manifests(Warehouse())}
    own = planted.plan.own.model_copy(update={"batch_size": 3})
    follow_features.fn(planted.study, planted.saes, replace(planted.plan, own=own))
    assert {(run.stage, run.key) for run in manifests(Warehouse())} == before


def test_what_cannot_be_followed_is_refused_in_one_line(planted):
    shifted = planted.plan.operators.model_copy(update={"position_policy": "previous"})
    with pytest.raises(SettingsError, match="predict no change at the same position"):
        follow_features.fn(planted.study, planted.saes, replace(planted.plan, operators=shifted))
    own = planted.plan.own.model_copy(update={"method": "lasso"})
    with pytest.raises(SettingsError, match="no lasso operators"):
        follow_features.fn(planted.study, planted.saes, replace(planted.plan, own=own))
