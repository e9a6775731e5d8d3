"""Distributions over all features: each is counted once."""

import warehouse
from tests.dashboards.opened_pages import panels, read_page
from tests.tasks.reported_study import SAES


def test_every_scored_feature_of_the_leap_is_in_one_cell(study):
    rows = panels(read_page("features", sae=SAES[6], leap=2))["Activation rate against r2"].rows
    sql = f"""select count(*) from feature_transport
        where method = 'ridge' and sae = '{SAES[6]}' and leap = 2 and r2 is not null and activation_rate > 0"""
    assert rows["n_features"].sum() == warehouse.connect().sql(sql).fetchall()[0][0]


def test_verdicts_add_up_to_all_features_of_the_ridge_operators(study):
    rows = panels(read_page("features", sae=SAES[6]))["Verdicts by leap"].rows
    sql = f"select count(*) from feature_transport where method = 'ridge' and sae = '{SAES[6]}'"
    assert rows["n_features"].sum() == warehouse.connect().sql(sql).fetchall()[0][0] > 0
    assert set(rows["verdict"]) <= {"transported", "undetermined", "computed"}
