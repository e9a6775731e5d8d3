"""CTEs of the latest results: of each pair the best ridge operator, of each SAE the scores that count."""

import warehouse
from dashboards.ui.reading import filled
from dashboards.views.features.latest import LATEST_EVALUATIONS, LATEST_SCORES
from tests.tasks.reported_study import COLLECTION, PAIRS, SAES


def test_one_ridge_operator_of_each_pair_is_judged(study):
    ctes = LATEST_EVALUATIONS.format(filters="collection = $collection")
    sql = filled(f"with {ctes} select operator from judged group by all order by all", collection=COLLECTION)
    found = warehouse.connect().sql(sql).fetchall()
    judged = [pair for pair in PAIRS if pair[1] in SAES]
    assert [operator for (operator,) in found] == sorted(f"ridge-{source}-{target}" for source, target in judged)


def test_scores_are_of_the_latest_scoring_of_one_sae(study):
    sql = filled(f"with {LATEST_SCORES} select distinct sae, scoring from scores", collection=COLLECTION, sae=SAES[6])
    assert warehouse.connect().sql(sql).fetchall() == [(SAES[6], "scores-6")]
