"""The table of ranked features, on planted ones."""

import pytest

from tests.dashboards.opened_pages import panels, read_page
from tests.warehouse.entity_rows import BEST_AUROC, N_RANKED


def test_features_stand_by_direction_and_rank_with_scores_of_train_and_test(study):
    known = panels(read_page("entities"))["Best features"].rows.head(N_RANKED)
    assert known["rank"].to_list() == [1, 2, 3]
    assert (known["layer"].to_list(), known["feature_id"].to_list()) == ([6, 6, 4], [0, 2, 0])
    assert known["auroc"].to_list() == pytest.approx([BEST_AUROC, BEST_AUROC - 0.1, BEST_AUROC - 0.2])
    assert known["best_baseline"].unique().to_list() == ["probe"]
    assert known["beats_baselines"].to_list() == [True, False, False]


def test_auroc_across_types_is_that_of_the_chosen_type(study):
    rows = panels(read_page("entities", entity_type="city"))["Best features"].rows
    assert rows["auroc_cross_type"].to_list() == pytest.approx([0.85, None, None] * 2)
