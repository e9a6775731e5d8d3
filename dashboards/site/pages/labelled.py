"""Page ``labelled``: one labelled feature or neuron, with all that its label stands on."""

from ato.autointerp.questions import SCORERS
from dashboards.site.declarations import Choice, Column, Link, Page, Panel
from dashboards.ui.declared import ROWS, interval
from dashboards.views.features.examples import SHOWN_WINDOWS
from dashboards.views.features.label import COLOURS, JUDGED, LABELS, SCORES, scores_chart

OF_ONE = "collection = $collection and sae = $sae and feature_id = $feature_id"
SAES = """select sae, replace(any_value(source), 'sae', 'SAE') || ', layer ' || any_value(layer) || ': ' || sae
from feature_labelled
where collection = $collection
group by sae
order by any_value(source) <> 'neurons', any_value(layer), sae"""
IDS = """select feature_id
from feature_labelled
where collection = $collection and sae = $sae
group by feature_id
order by min(place), feature_id"""
JUDGES = f"""select judge
from feature_labelled
where {OF_ONE}
group by judge
order by judge"""
FACTS = f"""select replace(any_value(source), 'sae', 'SAE') as source, sae, any_value(layer) as layer, feature_id,
    any_value(activation_rate) as activation_rate, any_value(n_active) as n_active,
    any_value(max_activation) as max_activation, any_value(promoted[:8]) as promotes,
    any_value(place) as place, replace(any_value(ordered_by), '_', ' ') as ordered_by,
    if(sae in (select sae from saes where collection = $collection), sae, null) as sae_with_page
from feature_labelled
where {OF_ONE}
group by sae, feature_id"""
EVIDENCE = """latest as (
    select distinct collection, evidence
    from feature_labelled
    where collection = $collection and sae = $sae and feature_id = $feature_id and judge = $judge
)"""
WINDOWS = f"""with {EVIDENCE}

select kind, rank, quantile, sequence_id, position, activation, start, tokens, activations, max(list_max(activations)) over () as largest
from example_windows
semi join latest using (collection, evidence)
where sae = $sae and feature_id = $feature_id and kind <> 'silent'
qualify row_number() over (partition by kind order by split = 'train' desc, split, rank) <= {SHOWN_WINDOWS}
order by kind <> 'top', kind, split = 'train' desc, split, rank"""
TRIALS = f"""with latest as (
    select distinct collection, labelling
    from feature_labelled
    where {OF_ONE} and judge = $judge
)

select
    case
        when t.answered is null then 'no answer'
        when t.answered = t.expected then 'right'
        else 'wrong'
    end as outcome,
    t.scorer, t.control, replace(t.tier, '_', ' ') as tier, t.split, t.trial, t.expected, t.answered, t.probability, t.reason{{text}}
from detection_trials as t
semi join latest using (collection, labelling)
where t.sae = $sae and t.feature_id = $feature_id
order by outcome desc, list_position({list(SCORERS)}, t.scorer), t.control, t.split, t.candidate, t.trial"""
TEXT = """,
    (
        select string_agg(array_to_string(w.tokens, ''), ' … ' order by list_position(t.windows, w.window_id))
        from example_windows as w
        where w.collection = t.collection and w.evidence = t.evidence and w.sae = t.sae and w.feature_id = t.feature_id
            and list_contains(t.windows, w.window_id)
    ) as text"""
"""What the judge was shown."""


def page(with_text: bool) -> Page:
    """One feature or neuron that judges were asked about."""
    facts = Panel(
        "In numbers",
        FACTS,
        note="Activity on the text from which it is described. Place: in which order it was labelled, and by what.",
        empty="Nobody labelled it: choose one of the page Labels.",
        view="facts",
        columns=(
            Column("source", "source"),
            Column("sae", "SAE or neurons"),
            Column("layer", "layer", "integer"),
            Column("feature_id", "number", "integer"),
            Column("activation_rate", "activation rate", "percent"),
            Column("n_active", "active tokens", "integer"),
            Column("max_activation", "largest activation"),
            Column("place", "place", "integer"),
            Column("ordered_by", "ordered by"),
            Column("promotes", "promotes", "list"),
        ),
        link=Link("feature", {"sae": "sae_with_page", "feature_id": "feature_id"}),
    )
    label = Panel(
        "Label",
        LABELS,
        note=JUDGED,
        empty="Not labelled.",
        columns=(
            Column("description", "description"),
            Column("judge", "judge"),
            *interval("detection", "detection"),
            Column("fuzzing", "fuzzing"),
            Column("intruder", "intruder"),
            Column("failed", "fails"),
            Column("reason", "reason"),
        ),
    )
    layer = "(select any_value(layer) from feature_labelled where collection = $collection and sae = $sae)"
    scores = Panel(
        "Scores of the label",
        SCORES.replace("$layer", layer),
        note="By test and by the source of the inactive texts, with 95 % intervals; grey ticks are chance. Another's description is the "
        "control. Neurons: mean over the labelled neurons of the layer, with the spread between them.",
        empty="This judge has not scored it.",
        view="chart",
        chart=scores_chart(ROWS, COLOURS),
        alt="Points with intervals: scores of the label by test, beside control, neurons and chance",
        columns=(
            Column("test", "test"),
            Column("what", "what"),
            *interval("score", "score"),
            Column("chance", "chance"),
            Column("n_trials", "answered trials", "integer"),
            Column("n_unanswered", "unanswered", "integer"),
            Column("reason", "reason"),
        ),
    )
    trials = Panel(
        "Trials",
        TRIALS.format(text=TEXT if with_text else ""),
        note="Every question behind the scores, wrong answers first: 1 is yes, 0 no, of an intruder the number of the text from 0.",
        empty="No trial: a description without words is not asked about.",
    )
    windows = Panel(
        "Activating examples",
        WINDOWS,
        note=f"At most {SHOWN_WINDOWS} of a kind, those from which it is described first. Deeper colour: larger activation, relative to "
        "the largest one shown; the underlined token is the peak. `·` is a space and `↵` a line break in a coloured token.",
        empty="It never fires in the text that was read.",
        view="windows",
    )
    return Page(
        "labelled",
        "Labelled",
        "What do judges say of one feature or neuron, and on which trials does that rest?",
        (
            Choice("sae", "SAE or neurons", SAES),
            Choice("feature_id", "Number", IDS, kind="number"),
            Choice("judge", "Judge", JUDGES),
        ),
        (facts, label, *([windows] if with_text else []), scores, trials),
        listed=False,
        compared="feature:$sae/$feature_id",
        needs="label_scores",
    )
