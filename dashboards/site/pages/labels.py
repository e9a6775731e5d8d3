"""Page ``labels``: how far descriptions of features can be trusted, and which fail."""

from dataclasses import replace

from dashboards.site.declarations import Choice, Link, Page, Panel
from dashboards.views.labels.about import TESTS
from dashboards.views.labels.classes import CLASSES_BY_JUDGE, JUDGES_AGREE, PROPERTIES
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


def _of_saes(panel: Panel) -> Panel:
    """Only features of SAEs lead to their page: neurons have none here."""
    with_page = "if(sae in (select sae from saes where collection = $collection), sae, null) as sae_with_page"
    link = Link("feature", {"sae": "sae_with_page", "feature_id": "feature_id"})
    return replace(panel, sql=panel.sql.replace("source, sae\n", f"source, sae, {with_page}\n"), link=link)


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
            _of_saes(LABELLED_FEATURES),
            _of_saes(LABELS_THAT_FAIL),
            CLASSES_BY_JUDGE,
            JUDGES_AGREE,
        ),
        needs="label_scores",
    )
