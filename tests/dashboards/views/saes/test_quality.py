"""Quality of SAEs, and features that never fire, on a study with planted ones."""

import polars as pl
import pytest

from tests.dashboards.opened_pages import panels, read_page
from tests.tasks.reported_study import N_FEATURES, SAES


def test_the_table_tells_trusted_saes_from_others(study):
    rows = panels(read_page("saes"))["Quality on held-out text"].rows
    assert dict(zip(rows["sae"], rows["trusted"])) == {SAES[4]: True, SAES[6]: False}


def test_features_that_never_fire_are_counted_apart(study):
    rows = panels(read_page("saes"))["Features that never fire"].rows
    never = rows.filter(rows["state"] == "never active")
    assert never["n_features"].to_list() == [1, 1], "feature 0 of each"
    assert rows["n_features"].sum() == 2 * (N_FEATURES + 2)
    assert rows.group_by("sae").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1, 1])


def test_every_feature_that_fires_stands_in_one_bin_of_its_rate(study):
    rows = panels(read_page("saes", sae=SAES[6]))["Activation rates"].rows
    assert rows["n_features"].sum() == N_FEATURES + 1
    assert rows["rate_from"][0] <= 0.01 < rows["rate_to"][0] * (1 + 1e-12)
