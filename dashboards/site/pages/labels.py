"""Page ``labels``: how far descriptions of features can be trusted, and which fail."""

from dataclasses import replace

from dashboards.site.declarations import Choice, Page, Panel
from dashboards.site.pages.feature import TO_TRIALS
from dashboards.views.labels.about import TESTS
from dashboards.views.labels.classes import CLASSES_BY_JUDGE, JUDGES_AGREE, PROPERTIES
from dashboards.views.labels.costs import JUDGE_COSTS
from dashboards.views.labels.coverage import EFFECT_COVERED
from dashboards.views.labels.scores import BY_JUDGE, BY_LAYER, BY_TIER
from dashboards.views.labels.table import LABELLED_FEATURES, LABELS_THAT_FAIL

JUDGES = """select judge
from label_scores
where collection = $collection
group by judge
order by judge"""
SCORERS = f"""select scorer
from label_scores
where collection = $collection and judge = $judge
group by scorer
order by list_position([{", ".join(map(repr, TESTS))}], scorer) nulls last, scorer"""
LAYERS = """select layer
from label_scores
where collection = $collection
group by layer
order by layer"""


def _with_trials(panel: Panel) -> Panel:
    """Rows that lead to the label with its trials, of the judge that is chosen."""
    return replace(panel, sql=panel.sql.replace("source, sae\n", "source, sae, judge\n"), link=TO_TRIALS)


def page() -> Page:
    """Scores of descriptions, the labelled features, and what judges make of them."""
    return Page(
        "labels",
        "Labels",
        "How far can descriptions of features be trusted, and which fail?",
        (
            Choice("judge", "Judge", JUDGES),
            Choice("scorer", "Test", SCORERS),
            Choice("layer", "Layer", LAYERS, empty="all"),
            Choice("words", "Search labels", kind="text", empty="word of a description, or a promoted token"),
            Choice("shown", "Property", PROPERTIES),
        ),
        (
            BY_LAYER,
            BY_TIER,
            BY_JUDGE,
            EFFECT_COVERED,
            _with_trials(LABELLED_FEATURES),
            _with_trials(LABELS_THAT_FAIL),
            CLASSES_BY_JUDGE,
            JUDGES_AGREE,
            JUDGE_COSTS,
        ),
        needs="label_scores",
    )
