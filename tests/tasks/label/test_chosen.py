"""Which features are labelled first: by what the tables say of them, the same every time, those that never fire left out."""

import numpy as np
import pytest

from ato.errors import InputError
from tasks.label.chosen import choose_features, draw_features
from tasks.settings import LabelSettings
from tests.warehouse.small_warehouse import COLLECTION, SAE, build, commit_stage, row, write
from warehouse.catalog.lookups import SAERow, sae_rows
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The small warehouse and the row of its SAE, of whose three features the first never fires."""
    warehouse = build(tmp_path_factory.mktemp("chosen"))
    (row,) = sae_rows(warehouse, [SAE])
    return warehouse, row


def chosen(small: tuple[Warehouse, SAERow], **settings: object) -> tuple[list[int], list[float]]:
    found = choose_features(small[0], COLLECTION, small[1], LabelSettings.model_validate(settings))
    return found.feature_id.tolist(), found.value.tolist()


def test_the_highest_score_comes_first_and_what_never_fires_is_left_out(small):
    assert chosen(small, order="score") == ([2, 1], [0.9, 0.5])
    assert chosen(small, order="score", n_features=1) == ([2], [0.9])


def test_features_that_the_layer_makes_come_before_those_that_it_receives(small):
    assert chosen(small, order="transport")[0] == [2, 1]


EFFECTS = [None, 1.0, -3.0, 2.0]
"""Of the features of an SAE, by whatever measure; their sizes sum to 6."""


def planted_effects(order: str) -> dict[str, list[dict[str, object]]]:
    """Table -> rows that say ``EFFECTS`` of the SAE ``planted``."""
    own, known = {"sae": "planted", "layer": 4}, [(i, value) for i, value in enumerate(EFFECTS) if value is not None]
    if order == "causal_effect":
        scores = [
            row("feature_scores", **own, scoring="s", feature_id=i, causal_effect=e) for i, e in enumerate(EFFECTS)
        ]
        return {"feature_scores": scores}
    if order == "attribution":  # of the same weights under the name that a study gave them
        studied = own | {"sae": "studied", "weights_hash": "planted"}
        found = [
            row("feature_attribution", sae="studied", feature_id=i, gradient_x_activation=value) for i, value in known
        ]
        return {"studied_saes": [row("studied_saes", **studied, d_sae=4)], "feature_attribution": found}
    graph = {"graph_set": "g", "prompt": "river", "graph_kind": "attribution"}
    ranked = sorted(((abs(value) / 6, i) for i, value in known), reverse=True)
    reached = np.cumsum([share for share, _ in ranked])
    nodes = [
        row("graph_nodes", **graph, **own, node=n, kind="feature", feature_id=i, activation=1.0, influence=share)
        for n, ((_, i), share) in enumerate(zip(ranked, reached))
    ]
    return {"graphs": [row("graphs", **graph)], "graph_nodes": nodes}


@pytest.mark.parametrize("order", ["causal_effect", "attribution", "influence"])
def test_large_effects_of_either_sign_come_first_with_the_share_that_they_cover(order, tmp_path):
    warehouse = build(tmp_path)
    sae = row("saes", sae="planted", layer=4, d_sae=4, weights_hash="planted")
    counts = [row("feature_stats", sae="planted", layer=4, feature_id=i, n_tokens=9, n_active=3) for i in range(4)]
    for stage, tables in (("saes", {"saes": [sae]}), ("features", {"feature_stats": counts})):
        commit_stage(warehouse, stage, write(warehouse, tables, "p"), key=f"{stage}-p")
    commit_stage(warehouse, "feature_scores", write(warehouse, planted_effects(order), "p"), key="effects")
    (planted,) = sae_rows(warehouse, ["planted"])
    found = choose_features(warehouse, COLLECTION, planted, LabelSettings(order=order, n_features=3))
    assert found.feature_id.tolist() == [2, 3, 1]
    np.testing.assert_allclose(found.covered, [3 / 6, 5 / 6, 1])
    assert found.ordered_by == order


def test_named_features_are_taken_as_they_are(small):
    found = choose_features(small[0], COLLECTION, small[1], LabelSettings(features={4: [1, 0]}))
    assert (found.feature_id.tolist(), found.ordered_by) == ([1, 0], "named")
    with pytest.raises(InputError, match="features 0 to 2"):
        chosen(small, features={4: [3]})


def test_an_order_without_values_names_the_stage_that_gives_them(small):
    with pytest.raises(InputError, match="sae_study"):
        chosen(small, order="attribution")


def test_a_draw_is_that_of_its_seed_and_has_no_feature_twice():
    first, again, other = (draw_features(100, 10, seed).feature_id for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(set(first.tolist())) == 10
    assert set(first.tolist()) != set(other.tolist())
