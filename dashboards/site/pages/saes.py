"""Page ``saes``: how well the sparse autoencoders reconstruct, and which features never fire."""

import altair as alt

from dashboards.site.charts import estimate
from dashboards.site.declarations import Choice, Column, Link, Page, Panel
from dashboards.site.pages.features import SAES
from dashboards.ui.chart_theme import GREY
from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.declared import ROWS, interval
from dashboards.views.saes.quality import DEAD, QUALITY, RATES

STATES = ("never active", "in fewer than 10 documents", "in 10 documents or more")

TRUSTED = "datum.label === 'true' ? 'trusted' : 'not trusted'"


def page() -> Page:
    """The page of all SAEs of a collection."""
    return Page(
        "saes",
        "SAEs",
        "How good are the sparse autoencoders?",
        (Choice("sae", "SAE of the histogram", SAES),),
        (
            Panel(
                "Quality on held-out text",
                QUALITY,
                note="FVU: fraction of variance unexplained. Loss recovered: share of the loss increase from zero ablation that splicing "
                "in the SAE avoids. With 95 % intervals by document. Dead: features that fired on no evaluated token. A row leads to "
                "the features of its SAE.",
                empty="No SAEs in this collection.",
                columns=(
                    Column("sae", "SAE"),
                    Column("layer", "layer", "integer"),
                    Column("architecture", "architecture"),
                    Column("d_sae", "features", "integer"),
                    Column("l0", "L0"),
                    *interval("fvu", "FVU"),
                    *interval("ce_recovered", "loss recovered"),
                    Column("dead_share", "dead", "percent"),
                    Column("trusted", "trusted"),
                    Column("distrust_reason", "why not"),
                    Column("n_tokens", "tokens", "integer"),
                ),
                link=Link("features", {"sae": "sae"}),
            ),
            Panel(
                "Sparsity against error",
                QUALITY,
                note="Lower left is better. Bars are 95 % intervals by document; labels are layers.",
                empty="No SAEs in this collection.",
                view="chart",
                chart=_sparsity(),
                alt="FVU of each SAE against its L0",
                wide=False,
                link=Link("features", {"sae": "sae"}),
            ),
            Panel(
                "Features that never fire",
                DEAD,
                note="By the number of test documents they fire in; scores of features in fewer than 10 documents are unreliable.",
                empty="Activations have not been counted.",
                view="chart",
                chart=_dead(),
                alt="Features of each SAE that never fire, rarely fire, or fire",
                wide=False,
            ),
            Panel(
                "Activation rates",
                RATES,
                note="Bars are 0.1 decades wide. In a good SAE most rates lie between 0.0001 and 0.05, with few above.",
                empty="Activations have not been counted.",
                view="chart",
                chart=_rates(),
                alt="Number of features by activation rate",
            ),
        ),
        compared="sae:$sae",
    )


def _sparsity() -> alt.TopLevelMixin:
    trusted = alt.Scale(domain=[True, False], range=[CATEGORIES[0], CATEGORIES[1]])
    base = alt.Chart(ROWS).encode(
        x=alt.X(
            "l0:Q",
            title="L0 (active features per token)",
            scale=alt.Scale(zero=False, padding=30),
            axis=alt.Axis(format="~g", tickCount=5),
        ),
        color=alt.Color("trusted:N", title=None, scale=trusted, legend=alt.Legend(labelExpr=TRUSTED)),
        tooltip=[
            alt.Tooltip("sae:N"),
            alt.Tooltip("architecture:N"),
            number("l0", "L0", ".1f"),
            *estimate("fvu", "FVU"),
            number("n_tokens", "tokens", ",d"),
        ],
    )
    error = alt.Y("fvu:Q", title="FVU (variance unexplained)", scale=alt.Scale(zero=False, padding=20))
    return alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(
            y=alt.Y("fvu_low:Q", title="FVU (variance unexplained)"), y2=alt.Y2("fvu_high:Q")
        ),
        base.mark_point(filled=True, size=90, opacity=1).encode(y=error),
        base.mark_text(align="left", dx=9).encode(y=error, text=alt.Text("label:N"), color=alt.ColorValue(GREY)),
    )


def _dead() -> alt.TopLevelMixin:
    bars = alt.Chart(ROWS).mark_bar()
    chart = bars.encode(
        y=alt.Y("sae:N", title=None, sort=None, axis=alt.Axis(labelLimit=140)),
        x=alt.X(
            "share:Q", title="share of features", axis=alt.Axis(format="%", tickCount=5), scale=alt.Scale(domain=[0, 1])
        ),
        color=alt.Color(
            "state:N",
            title=None,
            legend=alt.Legend(orient="top", columns=1),
            scale=alt.Scale(domain=list(STATES), range=[CATEGORIES[5], CATEGORIES[1], CATEGORIES[0]]),
        ),
        order=alt.Order("place:O"),
        tooltip=[
            alt.Tooltip("sae:N"),
            alt.Tooltip("state:N"),
            number("n_features", "features", ",d"),
            number("share", "share", ".2%"),
        ],
    )
    return chart.properties(height=alt.Step(34))


def _rates() -> alt.TopLevelMixin:
    bars = alt.Chart(ROWS).mark_bar(color=CATEGORIES[0])
    rate = alt.X(
        "rate_from:Q",
        title="activation rate (share of tokens)",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format="~g", grid=False),
    )
    return bars.encode(
        x=rate,
        x2=alt.X2("rate_to"),
        y=alt.Y("n_features:Q", title="features", axis=alt.Axis(tickMinStep=1)),
        y2=alt.Y2Datum(0),
        tooltip=[
            number("rate_from", "from", ".3~g"),
            number("rate_to", "to", ".3~g"),
            number("n_features", "features", ",d"),
        ],
    )
