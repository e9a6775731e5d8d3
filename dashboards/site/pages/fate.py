"""Page ``fate``: what becomes of features between layers, by every view, and the life of one."""

from dashboards.site.declarations import Choice, Page
from dashboards.views.fate.counts import FATES_BY_PAIR, VIEWS_AGREE
from dashboards.views.fate.life import LIFE_OF_A_FEATURE
from dashboards.views.fate.scatter import PREDICTED_AND_CAUSED

SAES = """select sae, 'layer ' || any_value(layer) || ': ' || sae
from feature_links
where collection = $collection
group by sae
order by any_value(layer) desc, sae"""
FEATURES = """select feature_id
from feature_fate
where collection = $collection and sae = $sae
order by agreement is null, source_sae is null, views_disagree desc, feature_id"""


def page() -> Page:
    """All pairs of layers, and one feature through them."""
    return Page(
        "fate",
        "Fates",
        "What becomes of features between layers?",
        (Choice("sae", "SAE", SAES), Choice("feature_id", "Feature", FEATURES, kind="number")),
        (FATES_BY_PAIR, VIEWS_AGREE, PREDICTED_AND_CAUSED, LIFE_OF_A_FEATURE),
        needs="feature_links",
    )
