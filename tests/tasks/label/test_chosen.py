"""Which features are labelled first: by what the tables say of them, the same every time, those that never fire left out."""

import numpy as np
import pytest

from ato.errors import InputError
from tasks.label.chosen import choose_features, draw_features
from tasks.settings import LabelSettings
from tests.warehouse.small_warehouse import COLLECTION, SAE, build
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
