"""Tables: how features are described, and how far descriptions can be trusted."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    LAYER,
    Column,
    Rule,
    Table,
    boolean,
    float64,
    int32,
    int64,
    interval,
    share,
    string,
    timestamp,
)
from warehouse.tables.label_evidence import EVIDENCE, FEATURE, SAE, TIERS, of_labelled_features

# fmt: off
LABELLING = Column("labelling", string, "key of the labelling: evidence, judge and how it is asked")
JUDGE = Column("judge", string, "who answers: overlap, embedding, or the name of a language model")
OF_LABELLING = (COLLECTION, LABELLING, EVIDENCE, SAE, LAYER, FEATURE, JUDGE)
CALL = Column("call", string, "key of its call in llm_calls; NULL for judges that call no model", nullable=True)
CONTROL = Column("control", string, "none; shuffled: the description is another feature's")


def value_or_reason(table: str, value: str, key: tuple[str, ...]) -> Rule:
    """What was not measured says why."""
    return Rule(
        f"has a {value} or a reason",
        f"{value}, reason",
        f"select {', '.join(key)} from {table} where ({value} is null) <> (reason is not null)",
    )


DESCRIPTION_KEY = ("collection", "labelling", "feature_id", "candidate")
TRIAL_KEY = ("collection", "labelling", "feature_id", "scorer", "control", "candidate", "trial")
SCORE_KEY = ("collection", "labelling", "feature_id", "scorer", "tier", "control")

TABLES = (
    Table(
        "feature_descriptions",
        "a phrase that says what a feature fires on, written from windows of train documents",
        (
            *OF_LABELLING,
            Column("candidate", int32, "number of the description among those of the judge, and published ones behind them", minimum=0),
            Column("description", string, "the phrase; NULL if the judge gave none", nullable=True),
            Column("chosen", boolean, "the one of its candidates that does best on validation documents, or the only one"),
            share("validation_score", "balanced accuracy of detection on validation documents; NULL with a single candidate or too few trials"),
            Column("origin", string, "judge, or where a published one is from: neuronpedia and the explanation's identifier"),
            Column("n_examples", int32, "windows that it was written from; 0 of a published one", minimum=0),
            CALL,
            Column("reason", string, "why there is no description", nullable=True),
        ),
        DESCRIPTION_KEY,
        ("collection", "sae"),
        rules=(
            of_labelled_features("feature_descriptions"),
            value_or_reason("feature_descriptions", "description", DESCRIPTION_KEY),
            Rule(
                "at most one is chosen, and it has words",
                "chosen",
                """select collection, labelling, feature_id from feature_descriptions where chosen
                group by collection, labelling, feature_id having count(*) > 1 or count(description) = 0""",
            ),
        ),
    ),
    Table(
        "detection_trials",
        "one question that puts a description to the test, and its answer",
        (
            *OF_LABELLING,
            Column("scorer", string, "detection (does it fire in this text), fuzzing (are the marked tokens those), intruder (which text is the odd one), embedding (how similar)"),
            CONTROL,
            Column("candidate", int32, "description under test; of a shuffled one, the feature's own in whose place it stands; -1 for intruder, which needs none", minimum=-1),
            Column("trial", int32, "number of the trial of this scorer, control and candidate", minimum=0),
            Column("tier", string, f"where the silent text is from; active: no text is silent. {TIERS}"),
            Column("split", string, "val or test"),
            Column("windows", pa.list_(int32), "windows asked about, see example_windows; several for intruder"),
            Column("marked", pa.list_(int32), "indices of the marked tokens; NULL but for fuzzing", nullable=True),
            Column("expected", int32, "right answer: 1 yes, 0 no; the index of the intruder", minimum=0),
            Column("answered", int32, "the judge's; NULL if it gave none", nullable=True, minimum=0),
            Column("probability", float64, "that the answer is yes, or of the intruder named; of embedding, the similarity; NULL where the judge has none", nullable=True),
            CALL,
            Column("reason", string, "why there is no answer", nullable=True),
        ),
        TRIAL_KEY,
        ("collection", "sae"),
        rules=(
            of_labelled_features("detection_trials"),
            Rule(
                "its windows are there, of documents that no description was made from",
                "windows",
                """with shown as (select * exclude (windows), unnest(windows) as window_id from detection_trials)
                select distinct t.collection, t.labelling, t.feature_id, t.window_id from shown as t
                anti join (from known_example_windows where split <> 'train') as w using (collection, evidence, feature_id, window_id)""",
            ),
        ),
    ),
    Table(
        "description_scores",
        "how well a judge predicts with a description when its feature fires: recomputed from detection_trials",
        (
            *OF_LABELLING,
            Column("scorer", string, "detection, fuzzing, intruder or embedding"),
            Column("tier", string, f"silent texts that it is compared with; all: every tier. {TIERS}"),
            CONTROL,
            Column("measure", string, "balanced_accuracy, accuracy (intruder) or auroc (embedding)"),
            Column("n_positive", int64, "answered trials whose right answer is yes; of intruder all", minimum=0),
            Column("n_negative", int64, "answered trials whose right answer is no", minimum=0),
            Column("n_unanswered", int64, "trials without an answer: they count neither as right nor as wrong", minimum=0),
            share("sensitivity", "share of the positives answered yes; NULL for other measures"),
            share("specificity", "share of the negatives answered no; NULL for other measures"),
            share("score", "value of the measure; NULL with a reason"),
            share("score_low", "lower end of its 95 % interval"),
            share("score_high", "upper end of its 95 % interval"),
            share("chance", "the measure at chance"),
            Column("reason", string, "why score is NULL", nullable=True),
        ),
        SCORE_KEY,
        ("collection", "sae"),
        rules=(
            of_labelled_features("description_scores"),
            value_or_reason("description_scores", "score", SCORE_KEY),
            Rule(
                "balanced accuracy is that of the trials",
                "score",
                """with answered as (
                    select collection, labelling, feature_id, scorer, control, tier, expected,
                        case when answered = expected then 1.0 else 0.0 end as correct
                    from known_detection_trials
                    inner join (select collection, labelling, feature_id, candidate from known_feature_descriptions where chosen)
                        using (collection, labelling, feature_id, candidate)
                    where answered is not null and split = 'test'
                ),
                recomputed as (
                    select s.collection, s.labelling, s.feature_id, s.scorer, s.tier, s.control, any_value(s.score) as score,
                        (avg(correct) filter (expected = 1) + avg(correct) filter (expected = 0)) / 2 as again
                    from description_scores as s inner join answered as a
                        on s.collection = a.collection and s.labelling = a.labelling and s.feature_id = a.feature_id
                        and s.scorer = a.scorer and s.control = a.control and (s.tier in ('all', a.tier) or a.tier = 'active')
                    where s.measure = 'balanced_accuracy' and s.score is not null
                    group by s.collection, s.labelling, s.feature_id, s.scorer, s.tier, s.control
                )
                select * from recomputed where again is null or abs(score - again) > 1e-9""",
            ),
            Rule(
                "accuracy is that of the trials",
                "score",
                """with recomputed as (
                    select s.collection, s.labelling, s.feature_id, any_value(s.score) as score,
                        avg(case when t.answered = t.expected then 1.0 else 0.0 end) as again
                    from description_scores as s
                    inner join known_detection_trials as t using (collection, labelling, feature_id, scorer, control)
                    where s.measure = 'accuracy' and s.score is not null and t.answered is not null and t.split = 'test'
                    group by s.collection, s.labelling, s.feature_id
                )
                select * from recomputed where abs(score - again) > 1e-9""",
            ),
        ),
    ),
    Table(
        "feature_labels",
        "the class that a judge puts a feature into, for one property of a label space",
        (
            *OF_LABELLING,
            Column("space", string, "name of the label space"),
            Column("property", string, "what is judged, such as category or confidence"),
            Column("value", string, "the class; NULL with a reason", nullable=True),
            CALL,
            Column("reason", string, "why there is none", nullable=True),
        ),
        ("collection", "labelling", "feature_id", "space", "property"),
        ("collection", "sae"),
        rules=(
            of_labelled_features("feature_labels"),
            value_or_reason("feature_labels", "value", ("collection", "labelling", "feature_id", "space", "property")),
        ),
    ),
    Table(
        "label_agreement",
        "how far two judges put the same features into the same classes",
        (
            COLLECTION,
            Column("comparison", string, "key of the comparison: two labellings"),
            SAE,
            LAYER,
            JUDGE,
            Column("other_judge", string, "the second judge"),
            LABELLING,
            Column("other_labelling", string, "the second judge's labelling"),
            Column("space", string, "name of the label space"),
            Column("property", string, "what is judged"),
            Column("n", int64, "features that both put into a class", minimum=0),
            share("agreement", "share of them with the same class"),
            Column("kappa", float64, "Cohen's kappa: agreement beyond that of judges who guess at their own rates", nullable=True, minimum=-1, maximum=1),
            *interval("kappa", ""),
            Column("reason", string, "why kappa is NULL", nullable=True),
        ),
        ("collection", "comparison", "space", "property"),
        ("collection", "sae"),
        rules=(value_or_reason("label_agreement", "kappa", ("collection", "comparison", "space", "property")),),
    ),
    Table(
        "llm_calls",
        "one question to a language model's server, what it answered and what it cost",
        (
            COLLECTION,
            LABELLING,
            SAE,
            Column("call", string, "content hash of model, messages, schema, temperature and seed"),
            JUDGE,
            Column("model", string, "name of the model on its server"),
            Column("purpose", string, "description, detection, fuzzing, intruder or classification"),
            Column("status", string, "answered, rejected (the reply does not fit the schema) or failed"),
            Column("mode", string, "how the schema was asked for: json_schema, json_object or plain; NULL if no request succeeded", nullable=True),
            Column("n_attempts", int32, "requests, repeated ones included", minimum=0),
            Column("prompt_tokens", int64, "tokens of the prompt", unit="tokens", nullable=True, minimum=0),
            Column("completion_tokens", int64, "tokens of the reply", unit="tokens", nullable=True, minimum=0),
            Column("cost", float64, "by the prices of the settings; NULL without prices", nullable=True, minimum=0),
            Column("seconds", float64, "from the first request to the reply", unit="s", nullable=True, minimum=0, volatile=True),
            Column("reply", string, "the reply as it came", nullable=True),
            Column("log_probability", float64, "natural log of the probability of the choices that it answered, added up; NULL where the server gives none", nullable=True, maximum=0),
            Column("reason", string, "why it was rejected or failed", nullable=True),
            Column("made_at", timestamp, "time of the reply", volatile=True),
        ),
        ("collection", "labelling", "call"),
        ("collection", "sae"),
    ),
)
