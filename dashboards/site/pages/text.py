"""Page ``text``: a sequence that examples are from, and the features that have examples in it."""

from dashboards.site.declarations import Choice, Column, Page, Panel
from dashboards.site.pages.feature import EXAMPLES, windows
from dashboards.site.texts import NAME
from dashboards.ui.declared import TO_FEATURE

OF_SEQUENCE = "collection = $collection and sequence_id = $sequence_id"
SEQUENCES = f"""select sequence_id
from {NAME}
where collection = $collection
order by sequence_id"""
TEXT = f"""select document, sequence_id, text
from {NAME}
where {OF_SEQUENCE}"""
IN_IT = EXAMPLES.replace("qualify scoring", "    and sequence_id = $sequence_id\nqualify scoring")
FEATURES = f"""with examples as (
    from feature_examples
    where {OF_SEQUENCE}
    qualify scoring = max(scoring) over (partition by sae)
)

select e.sae, e.feature_id, max(e.activation) as activation, count(*) as n_examples, any_value(c.top_tokens[:5]) as promotes,
    any_value(c.explanation) as explanation
from examples as e
left join feature_catalog as c on c.collection = $collection and c.sae = e.sae and c.feature_id = e.feature_id
group by e.sae, e.feature_id
order by activation desc, e.sae, e.feature_id"""


def page() -> Page:
    """One sequence."""
    return Page(
        "text",
        "Text",
        "In which text is a feature active, and which others are?",
        (
            Choice("sequence_id", "Sequence", SEQUENCES, kind="number"),
            Choice("sae", "SAE", kind="state"),
            Choice("feature_id", "Feature", kind="state"),
        ),
        (
            Panel(
                "The text",
                TEXT,
                note="A sequence of the train text, from which examples are.",
                empty="No example is from this sequence.",
                view="facts",
                columns=(Column("document", "document"), Column("sequence_id", "sequence"), Column("text", "text")),
            ),
            windows("Where the feature is active in it", IN_IT),
            Panel(
                "Features with examples in it",
                FEATURES,
                note="By their largest activation in it. Examples are stored for the selected features. A row leads to its feature.",
                empty="No feature has an example in this sequence.",
                columns=(
                    Column("feature_id", "feature"),
                    Column("activation", "largest activation"),
                    Column("n_examples", "examples", "integer"),
                    Column("promotes", "promotes", "list"),
                    Column("explanation", "explanation"),
                    Column("sae", "SAE"),
                ),
                link=TO_FEATURE,
            ),
        ),
        listed=False,
        needs="feature_examples",
    )
