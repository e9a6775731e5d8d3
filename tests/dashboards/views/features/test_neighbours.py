"""Similar features: those that a correlation names, in either direction."""

import duckdb

from dashboards.ui.reading import filled
from dashboards.views.features.neighbours import NEIGHBOURS
from tests.dashboards.opened_pages import panels
from tests.dashboards.views.features.opened_feature import read_feature

SCORED = """
create table latest_evaluations as
    select 'c' as collection, 's' as sae, 'feature_scores' as kind, true as is_latest, 'now' as evaluation;
create table feature_scores as
    select 'c' as collection, 's' as sae, scoring, feature_id, redundant_with, redundancy, ['a'] as top_tokens, 0.5 as score
    from (values ('now', 0, 2, 0.9), ('now', 1, 0, 0.5), ('now', 2, 0, 0.9), ('old', 0, 1, 0.99), ('now', 3, null, null))
        as t(scoring, feature_id, redundant_with, redundancy)
"""


def test_neighbours_of_the_latest_scores_are_named_once_most_correlated_first():
    connection = duckdb.connect()
    connection.execute(SCORED)
    found = {
        feature: connection.sql(filled(NEIGHBOURS, collection="c", sae="s", feature_id=feature)).fetchall()
        for feature in (0, 1, 3)
    }
    assert [(feature, float(correlation)) for feature, correlation, *_ in found[0]] == [(2, 0.9), (1, 0.5)]
    assert [feature for feature, *_ in found[1]] == [0]
    assert found[3] == []


def test_without_correlations_the_command_is_named(study):
    (said,) = panels(read_feature(7))["Similar features"].informed
    assert "`ato run features`" in said
