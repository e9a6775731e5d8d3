"""The marts of entities, on planted rows: the latest results alone, with what was worked out by hand beside them."""

import pytest

from tests.warehouse.entity_rows import ATTRIBUTES, N_INVENTED, N_REAL, entity_rows, write_entities
from tests.warehouse.small_warehouse import COLLECTION, SAE, STARTED, build, row, warehouse_of, write
from warehouse.catalog.catalog import rows
from warehouse.quality.checks import check_all, failures
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

SAES, N_FEATURES, PAIRS = {4: SAE}, 3, [(2, 4)]
PLACE = {"latent_scoring": "s", "contrast": "known_unknown", "template": "name", "position": "entity_last"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The small warehouse with two runs of the entities; nobody writes to it."""
    warehouse = build(tmp_path_factory.mktemp("entities"))
    for run in (2, 1):
        write_entities(warehouse, SAES, N_FEATURES, PAIRS, run)
    return warehouse


def latent(feature_id, separation, **values):
    direction = "known" if separation > 0 else "unknown"
    values = PLACE | {"layer": 4, "entity_type": "city", "direction": direction, "passes_filter": True} | values
    return row("entity_latents", feature_id=feature_id, separation=separation, **values)


def carried(root, **values):
    """What the mart says of the one feature's transport."""
    reached = row("entity_transport", **PLACE, source_layer=2, leap=2, target_layer=4, **values)
    ranked = latent(0, 0.9, entity_type="all", rank=1)
    (found,) = rows(
        warehouse_of(root, entity_latents=[ranked], entity_transport=[reached]), "from entity_latent_transport"
    )
    return found["carried"]


def test_planted_rows_pass_all_checks(planted):
    assert failures(check_all(planted)) == []


@pytest.mark.parametrize(
    ("mart", "column"),
    [
        ("entity_knowledge", "labelling"),
        ("entity_layer_curves", "latent_scoring"),
        ("entity_latent_ranking", "latent_scoring"),
        ("entity_latent_transport", "latent_scoring"),
        ("entity_classification", "latent_scoring"),
        ("entity_intervention_summary", "intervening"),
    ],
)
def test_a_mart_holds_the_results_of_the_run_that_started_last(planted, mart, column):
    assert rows(planted, f"select distinct {column} as key from {mart}") == [{"key": f"{column}-2"}]


def test_a_scoring_of_another_place_does_not_make_the_one_before_it_old(tmp_path):
    warehouse = Warehouse(tmp_path)
    for run, position in enumerate(("entity_last", "last_eoi", "last_eoi")):
        own = [latent(0, 0.5, latent_scoring=f"s{run}", position=position)]
        files = write(warehouse, {"entity_latents": own}, f"s{run}")
        commit(
            warehouse,
            "entities",
            f"s{run}",
            collection=COLLECTION,
            settings={},
            files=files,
            started_at=STARTED.replace(hour=run),
            seconds=1.0,
        )
    found = rows(warehouse, "select result from latest_entity_results where is_latest order by all")
    assert [f["result"] for f in found] == ["s0", "s2"]


def test_an_entity_is_one_row_with_its_label_also_if_nobody_asked_about_it(planted, tmp_path):
    n = len(ATTRIBUTES) * (N_REAL + N_INVENTED)
    (counted,) = rows(
        planted, "select count(*) as n, count(distinct entity_id) as ids, count(label) as labels from entity_knowledge"
    )
    assert counted == {"n": n, "ids": n, "labels": n}
    (sets, *_) = entity_rows(SAES, N_FEATURES, PAIRS).values()
    assert {r["label"] for r in rows(warehouse_of(tmp_path, **sets), "from entity_knowledge")} == {None}


def test_labels_and_entities_of_two_sets_are_never_joined(tmp_path):
    """Two sets share an entity: the small one is labelled, the large one is made later and not labelled yet."""
    warehouse = Warehouse(tmp_path)

    def made(hour, key, tables, inputs=()):
        commit(
            warehouse,
            "entities",
            key,
            collection=COLLECTION,
            settings={},
            files=write(warehouse, tables, key),
            started_at=STARTED.replace(hour=hour),
            seconds=1.0,
            inputs=inputs,
        )

    def entities(entity_set, ids):
        return {"entities": [row("entities", entity_set=entity_set, entity_id=i, split=entity_set) for i in ids]}

    def labelled(labelling, answering, label, ids):
        own = {"labelling": labelling, "answering": answering, "label": label}
        return {"entity_labels": [row("entity_labels", entity_id=i, **own) for i in ids]}

    def known():
        found = rows(warehouse, "select entity_id, entity_set, split, label from entity_knowledge order by all")
        return [tuple(f.values()) for f in found]

    made(1, "small", entities("small", "a"))
    made(2, "large", entities("large", "ab"))
    assert known() == [("a", "large", "large", None), ("b", "large", "large", None)]
    made(3, "part-1", {}, ["small", "answers-1"])
    made(4, "labels-1", labelled("labels-1", "answers-1", "known", "a"), ["answers-1"])
    assert known() == [("a", "small", "small", "known")]
    made(5, "scores-1", {"entity_latents": [latent(0, 0.5, latent_scoring="scores-1")]}, ["labels-1"])
    made(6, "part-2", {}, ["large", "answers-2"])
    made(7, "labels-2", labelled("labels-2", "answers-2", "unknown", "ab"), ["answers-2"])
    assert known() == [("a", "large", "large", "unknown"), ("b", "large", "large", "unknown")]
    (scores,) = rows(warehouse, "from latest_entity_results where kind = 'latents'")
    assert (scores["entity_set"], scores["is_latest"], scores["of_latest_set"]) == ("small", True, False)


def test_an_effect_names_the_latent_that_was_edited_and_the_scores_that_chose_it(planted):
    found = rows(
        planted,
        "select distinct direction, layer, sae, feature_id, latent_scoring, of_latest_set from entity_intervention_summary order by all",
    )
    expected = {"layer": 4, "sae": SAE, "latent_scoring": "latent_scoring-2", "of_latest_set": True}
    assert found == [
        {"direction": direction, "feature_id": latent} | expected
        for direction, latent in (("known", 0), ("unknown", 1))
    ]


def test_the_layer_of_changed_weights_is_that_of_the_latents_sae(tmp_path):
    edit = {"intervening": "i", "intervention": "orthogonalise", "direction": "known", "position": ""}
    tables = {
        "entity_intervention_effects": [row("entity_intervention_effects", **edit, outcome="correct")],
        "entity_interventions": [row("entity_interventions", **edit, feature_id=7, layer=None)],
        "saes": [row("saes", layer=12)],
    }
    (found,) = rows(warehouse_of(tmp_path, **tables), "from entity_intervention_summary")
    assert (found["layer"], found["feature_id"]) == (12, 7)


def test_a_classifier_stands_beside_what_always_naming_the_first_class_reaches(tmp_path):
    found = row("entity_classifiers", **PLACE, entity_type="all", score="latent", n_positive=30, n_negative=10, f1=0.8)
    (one,) = rows(
        warehouse_of(tmp_path, entity_classifiers=[found], entity_latents=[latent(0, 0.5)]),
        "from entity_classification",
    )
    # precision 3/4 and recall 1; the share 3/4 is wrong by 1/4 on 3 of 4 and by 3/4 on the others
    assert (one["f1"], one["f1_constant"], one["brier_constant"]) == pytest.approx((0.8, 6 / 7, 3 / 16))


def test_layer_curves_are_of_the_five_best_that_pass_the_filter(tmp_path):
    values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.1, -0.4]
    latents = [latent(i, value) for i, value in enumerate(values)]
    latents += [
        latent(7, 1.0, passes_filter=False),
        latent(8, 0.3, entity_type="all"),
        latent(9, 0.2, entity_type="all"),
    ]
    found = rows(warehouse_of(tmp_path, entity_latents=latents), "from entity_layer_curves")
    curves = {(f["entity_type"], f["direction"]): f for f in found}
    best = curves["city", "known"]
    assert (best["top5_mean"], best["top5_min"], best["top5_max"]) == pytest.approx((0.7, 0.5, 0.9))
    assert (best["n_features"], best["maxmin"]) == (6, None)
    assert curves["city", "unknown"]["top5_mean"] == pytest.approx(0.4)
    assert curves["all", "known"]["maxmin"] == pytest.approx(0.3)


def test_the_ranking_sets_each_feature_beside_the_best_baseline_of_its_entities(tmp_path):
    def baseline(name, auroc, **values):
        values = {"entity_type": "city", "layer": None} | values
        return row("entity_baselines", **PLACE, baseline=name, auroc=auroc, **values)

    baselines = [
        baseline("n_tokens", 0.7, confounded=True),
        baseline("probe", 0.8, layer=4),
        baseline("popularity", None),
        baseline("probe", 0.99, layer=4, entity_type="movie"),
    ]
    latents = [latent(0, 0.9, rank=1, auroc=0.9), latent(1, 0.8)]
    scores = [row("feature_scores", scoring="x", layer=4, feature_id=0, top_tokens=[" a"], top_logits=[1.0])]
    tables = {"entity_latents": latents, "entity_baselines": baselines, "feature_scores": scores}
    (found,) = rows(warehouse_of(tmp_path, **tables), "from entity_latent_ranking")
    assert (found["feature_id"], found["best_baseline"], found["best_baseline_auroc"]) == (0, "probe", 0.8)
    assert (found["confounded_by"], found["matched"], found["top_tokens"]) == (["n_tokens"], False, [" a"])


@pytest.mark.parametrize(
    ("r2", "identity", "verdict"),
    [
        ((0.7, 0.9), (0.8, 0.95), "carried"),  # both high
        ((0.4, 0.6), (0.1, 0.3), "carried"),
        ((0.4, 0.6), (0.1, 0.5), "unclear"),
        ((0.1, 0.6), (-0.9, 0.0), "unclear"),  # above the identity, but perhaps near 0
        ((0.1, 0.3), (-0.9, 0.0), "computed"),
        ((None, None), (None, None), "unclear"),
    ],
)
def test_carried_or_computed_follows_from_the_intervals(tmp_path, r2, identity, verdict):
    ends = {"r2_low": r2[0], "r2_high": r2[1], "r2_identity_low": identity[0], "r2_identity_high": identity[1]}
    assert carried(tmp_path, **ends) == verdict


def test_transport_at_entities_stands_beside_that_of_the_same_feature_on_ordinary_text(planted):
    found = rows(planted, "from entity_latent_transport order by contrast, feature_id")
    assert {f["operator"] for f in found} == {"ridge-2-4"}
    by_feature = {f["feature_id"]: (f["r2_text"], f["verdict_text"]) for f in found}
    assert by_feature == {0: (None, "undetermined"), 1: (0.9, "transported"), 2: (0.1, "computed")}


def test_effects_beyond_controls_need_an_interval_without_0_and_few_draws_as_large(tmp_path):
    def effect(outcome, low, high, p):
        return row(
            "entity_intervention_effects",
            intervening="i",
            label="known",
            intervention="steer",
            direction="unknown",
            position="entity_last",
            outcome=outcome,
            change=(low + high) / 2,
            change_low=low,
            change_high=high,
            n_draws=20,
            control_mean=0.1,
            control_sd=0.2,
            p_control=p,
        )

    effects = [effect("correct", -0.4, -0.2, 0.04), effect("abstain", 0.1, 0.3, 0.2), effect("kl", -0.1, 0.1, 0.04)]
    found = rows(warehouse_of(tmp_path, entity_intervention_effects=effects), "from entity_intervention_summary")
    assert {f["outcome"]: f["beyond_controls"] for f in found} == {"correct": True, "abstain": False, "kl": False}
    assert all(f["is_damage"] for f in found)
    assert (found[0]["control_low"], found[0]["control_high"]) == pytest.approx((-0.3, 0.5))
    few = warehouse_of(tmp_path / "few", entity_intervention_effects=[one | {"n_draws": 18} for one in effects])
    assert {f["beyond_controls"] for f in rows(few, "from entity_intervention_summary")} == {None}
    harmless = warehouse_of(tmp_path / "other", entity_intervention_effects=effects[1:])
    assert not any(f["is_damage"] for f in rows(harmless, "from entity_intervention_summary"))
