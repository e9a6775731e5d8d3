"""Page ``compare``: two features side by side."""

from dashboards.site.declarations import Choice, Column, Page, Panel
from dashboards.site.measures import drawn
from dashboards.site.pages.feature import COLUMNS, EXAMPLES, IDS, MEASURES, R2_NOTE, profile, windows
from dashboards.site.pages.features import SAES
from dashboards.ui.declared import TO_FEATURE, interval
from dashboards.views.features.transport import LEAST_R2

SECOND = IDS.replace("$sae", "$other_sae").replace(
    "\norder by", "\norder by feature_id = try_cast($feature_id as integer),"
)
BOTH = "((f.sae = $sae and f.feature_id = $feature_id) or (f.sae = $other_sae and f.feature_id = $other_id))"
FACTS = (
    MEASURES.split("\nwhere")[0]
    + f"""
where f.collection = $collection and {BOTH}
order by f.sae = $sae and f.feature_id = $feature_id desc"""
)
PROFILES = f"""select
    f.sae || ' / ' || f.feature_id as feature, f.method, f.source_layer, f.target_layer, f.leap, f.r2, f.r2_low, f.r2_high,
    f.verdict, f.n_active, {drawn("f.r2", LEAST_R2)}
from feature_profile as f
where f.collection = $collection and f.position_policy = 'same' and f.method = $method and {BOTH}
order by f.sae = $sae and f.feature_id = $feature_id desc, f.leap"""
DIFFERENCE = """with first as (
    select leap, r2, r2_low, r2_high, verdict
    from feature_profile
    where collection = $collection and position_policy = 'same' and method = $method and sae = $sae and feature_id = $feature_id
),

second as (
    select leap, r2, r2_low, r2_high, verdict
    from feature_profile
    where collection = $collection and position_policy = 'same' and method = $method and sae = $other_sae and feature_id = $other_id
)

select
    leap, a.r2 as r2_first, a.r2_low as r2_first_low, a.r2_high as r2_first_high, b.r2 as r2_second, b.r2_low as r2_second_low,
    b.r2_high as r2_second_high, b.r2 - a.r2 as difference, a.verdict as verdict_first, b.verdict as verdict_second
from first as a
full join second as b using (leap)
order by leap"""
METHODS = """select method
from feature_profile
where collection = $collection and sae = $sae
group by method
order by method <> 'ridge', method"""
OTHER = EXAMPLES.replace("$sae", "$other_sae").replace("$feature_id", "$other_id")
SHORT = "\nlimit 8"


def page(with_text: bool) -> Page:
    """Two features of one collection."""
    panels = [
        Panel(
            "In numbers",
            FACTS,
            note="Activity on test text. A click leads to the page of the feature.",
            empty="No such features.",
            view="facts",
            columns=COLUMNS,
            link=TO_FEATURE,
        ),
        Panel(
            "r2 by leap",
            PROFILES,
            note=R2_NOTE,
            empty="No operators into these layers evaluated.",
            view="chart",
            chart=profile("feature", "feature", name_width=200),
            alt="r2 of both features by leap",
        ),
        Panel(
            "Difference by leap",
            DIFFERENCE,
            note="r2 of the second feature less that of the first. The two are scored on different tokens, so the difference has no "
            "paired interval; each r2 has its own.",
            empty="No operators into these layers evaluated.",
            columns=(
                Column("leap", "leap", "integer"),
                *interval("r2_first", "r2, first"),
                *interval("r2_second", "r2, second"),
                Column("difference", "difference", "signed"),
                Column("verdict_first", "verdict, first"),
                Column("verdict_second", "verdict, second"),
            ),
        ),
    ]
    if with_text:
        panels += [
            windows("Examples of the first", EXAMPLES + SHORT, wide=False),
            windows("Examples of the second", OTHER + SHORT, wide=False),
        ]
    return Page(
        "compare",
        "Compare",
        "How do two features differ?",
        (
            Choice("sae", "SAE of the first", SAES),
            Choice("feature_id", "First feature", IDS, kind="number"),
            Choice("other_sae", "SAE of the second", SAES.replace("order by", "order by sae <> $sae,")),
            Choice("other_id", "Second feature", SECOND, kind="number"),
            Choice("method", "Method", METHODS),
        ),
        tuple(panels),
    )
