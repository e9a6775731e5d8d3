"""Tables: entities, what the model says about them, and the SAE features that separate known from unknown ones."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    LAYER,
    PAIR,
    Column,
    Rule,
    Table,
    boolean,
    float64,
    int32,
    int64,
    string,
)

# fmt: off
ENTITY = Column("entity_id", string, "id of the entity: hash of its type and name")
SET = Column("entity_set", string, "key of the set of entities: sources, numbers and seed")
ANSWERING = Column("answering", string, "key of the answers: set, attributes, prompt family and decoding")
LABELLING = Column("labelling", string, "key of the labels: answers and rule")
READING = Column("reading", string, "key of the residuals at entities: set, templates, positions and layers")
SCORING = Column("latent_scoring", string, "key of the latent scores: labels, residuals, SAEs and settings")
INTERVENING = Column("intervening", string, "key of the interventions: latent scores and settings")
PLACE = (
    Column("template", string, "prompt that the entity stands in: name, or an attribute of its type"),
    Column("position", string, "named position of the prompt: entity_first, entity_last, question_end or last_eoi"),
)
FEATURE = Column("feature_id", int32, "index of the feature in the SAE", minimum=0)
CONTRAST = Column("contrast", string, "classes compared: known_unknown (entities) or correct_wrong (answers)")
TYPE = Column("entity_type", string, "type of the entities; all: every type")
DIRECTION = Column("direction", string, "class on whose train entities the score is higher: known or unknown (correct or wrong)")


def share(name: str, meaning: str) -> Column:
    """A share of entities; NULL where there are none."""
    return Column(name, float64, meaning, nullable=True, minimum=0, maximum=1)


def by_entity(name: str, meaning: str) -> tuple[Column, ...]:
    """A number with its 95 % interval by entity."""
    return (
        Column(name, float64, meaning, nullable=True),
        Column(f"{name}_low", float64, f"lower end of the 95 % interval by entity of {name}", nullable=True),
        Column(f"{name}_high", float64, f"upper end of the 95 % interval by entity of {name}", nullable=True),
    )


def in_entities(table: str) -> Rule:
    """Every row names an entity of its set."""
    return Rule(
        "entity is in entities",
        "entity_id",
        f"select distinct t.collection, t.entity_id from {table} as t anti join known_entities using (collection, entity_id)",
    )


TABLES = (
    Table(
        "entities",
        "an entity: a named thing of a type, real or invented",
        (
            COLLECTION,
            SET,
            ENTITY,
            Column("entity_type", string, "city, country, movie, person, work, or a user's type"),
            Column("name", string, "its name, as prompts have it"),
            Column("source", string, "where it comes from: package or file, and licence"),
            Column("invented", boolean, "made by recombining parts of names: nobody can know it"),
            Column("split", string, "train, validation or test, by hash of entity_id"),
            Column("popularity", float64, "inhabitants, votes or the like; NULL where unknown", nullable=True, minimum=0),
            Column("n_tokens", int64, "tokens of its name in the prompt that holds the name alone", unit="tokens", minimum=1),
            Column("n_characters", int64, "characters of its name", unit="characters", minimum=1),
            Column("token_frequency", float64, "mean over its tokens of log(1 + occurrences in the collection's corpus)", minimum=0),
        ),
        ("collection", "entity_set", "entity_id"),
        ("collection",),
    ),
    Table(
        "entity_attributes",
        "a fact about an entity: the answer that a question about it should get",
        (
            COLLECTION,
            SET,
            ENTITY,
            Column("attribute", string, "name of the attribute, such as country"),
            Column("value", string, "its value; several are separated by commas"),
            Column("aliases", pa.list_(string), "other spellings that count as right"),
        ),
        ("collection", "entity_set", "entity_id", "attribute"),
        ("collection",),
        rules=(in_entities("entity_attributes"),),
    ),
    Table(
        "entity_answers",
        "one completion of one question about an entity, graded",
        (
            COLLECTION,
            ANSWERING,
            ENTITY,
            Column("attribute", string, "what was asked"),
            Column("family", string, "prompt family: continuation, chat_prefill or chat_free"),
            Column("sample", int32, "0: greedy; 1 and up: drawn at the temperature of the settings", minimum=0),
            Column("template", string, "name of the prompt template"),
            Column("completion", string, "generated text, without the prompt"),
            Column("grade", string, "correct, wrong or abstain"),
            Column("grader", string, "name and version of the grader"),
            Column("log_probability", float64, "sum over the generated tokens of their log-probability", unit="nats", maximum=0.001),
            Column("n_tokens", int32, "generated tokens, the one that ends it included", unit="tokens", minimum=1),
            share("p_correct", "probability of the gold answer against distractors, teacher-forced; only for sample 0"),
        ),
        ("collection", "answering", "entity_id", "attribute", "family", "sample"),
        ("collection",),
        rules=(
            in_entities("entity_answers"),
            Rule(
                "grade is correct, wrong or abstain",
                "grade",
                "select collection, answering, entity_id, attribute, sample, grade from entity_answers where grade not in ('correct', 'wrong', 'abstain')",
            ),
        ),
    ),
    Table(
        "entity_labels",
        "whether the model knows an entity, by its answers",
        (
            COLLECTION,
            LABELLING,
            ANSWERING,
            ENTITY,
            Column("label", string, "known, unknown or between; invented for invented entities, not_asked where no attribute has a question"),
            Column("n_asked", int32, "attributes asked", minimum=0),
            Column("n_right", int32, "attributes that it knows: enough samples are right", minimum=0),
            Column("share_correct", float64, "share of all samples that are right", nullable=True, minimum=0, maximum=1),
            Column("share_abstain", float64, "share of all samples that abstain", nullable=True, minimum=0, maximum=1),
            Column("confidence", float64, "mean log-probability per token of the greedy answers", unit="nats", nullable=True, maximum=0.001),
            Column("rule", string, "the rule in words"),
        ),
        ("collection", "labelling", "entity_id"),
        ("collection",),
        rules=(in_entities("entity_labels"),),
    ),
    Table(
        "entity_positions",
        "where an entity stands in a prompt, and which of its tokens is read",
        (
            COLLECTION,
            READING,
            ENTITY,
            *PLACE,
            Column("token_ids", pa.list_(int32), "ids of the whole prompt"),
            Column("token_start", int32, "first token of the entity; NULL if dropped", nullable=True, minimum=0),
            Column("token_end", int32, "token behind its last one; NULL if dropped", nullable=True, minimum=1),
            Column("token", int32, "token that is read; NULL if dropped", nullable=True, minimum=0),
            Column("drop_reason", string, "why it is not read; NULL if it is", nullable=True),
        ),
        ("collection", "reading", "entity_id", "template", "position"),
        ("collection",),
        rules=(
            in_entities("entity_positions"),
            Rule(
                "what is read lies in the prompt, and an entity's own positions in the entity",
                "token, token_start, token_end",
                """select collection, reading, entity_id, template, position from entity_positions
                where drop_reason is null and (token >= len(token_ids) or token_end > len(token_ids) or token_start >= token_end
                    or (position in ('entity_first', 'entity_last') and (token < token_start or token >= token_end)))""",
            ),
        ),
    ),
    Table(
        "entity_residuals",
        "the residual at a named position of an entity's prompt",
        (
            COLLECTION,
            READING,
            LAYER,
            ENTITY,
            *PLACE,
            Column("residual", pa.list_(pa.float32()), "the residual, of width d_model"),
        ),
        ("collection", "reading", "layer", "entity_id", "template", "position"),
        ("collection", "layer"),
    ),
    Table(
        "entity_latents",
        "how well an SAE feature tells two classes of entities or answers apart: chosen on train, judged on test",
        (
            COLLECTION,
            SCORING,
            CONTRAST,
            *PLACE,
            Column("sae", string, "key of the SAE"),
            LAYER,
            TYPE,
            FEATURE,
            Column("n_positive_train", int64, "train entities of the first class (known, correct)", minimum=0),
            Column("n_negative_train", int64, "train entities of the second class (unknown, wrong)", minimum=0),
            share("f_positive_train", "share of the first class on which the feature is active, train, all types pooled in their row"),
            share("f_negative_train", "the same of the second class"),
            Column("separation", float64, "f_positive_train - f_negative_train; for all types the one nearest to 0 if all have one sign, else 0", nullable=True, minimum=-1, maximum=1),
            Column("relative", float64, "separation over the smaller of the two shares (plus 1e-6)", nullable=True),
            Column("mean_difference", float64, "difference of mean activations, train", nullable=True),
            Column("welch_t", float64, "Welch's t of the activations, train", nullable=True),
            DIRECTION,
            share("general_rate", "share of the collection's held-out tokens on which it is active; NULL if not measured"),
            Column("passes_filter", boolean, "general_rate below the limit of the settings; NULL if not measured", nullable=True),
            share("p_max", "share of label permutations, within types, whose largest |separation| over all features reaches this one"),
            share("q", "Benjamini-Hochberg q-value over all features of the same test, train"),
            Column("rank", int32, "place among the features of its direction that pass the filter, all SAEs together; NULL if not among the best", nullable=True, minimum=1),
            Column("n_positive", int64, "test entities of the first class", minimum=0),
            Column("n_negative", int64, "test entities of the second class", minimum=0),
            share("f_positive", "share of the first class on which it is active, test"),
            share("f_negative", "the same of the second class"),
            *by_entity("test_separation", "f_positive - f_negative, for all types the mean over types; interval for ranked features only"),
            *by_entity("auroc", "AUROC of its activation, oriented by direction, test, for all types the mean over types; ranked features only"),
            *by_entity("auroc_cross_type", "AUROC on this type of the best feature chosen on the other types; rank 1 only"),
            Column("beats_baselines", boolean, "the lower end of its AUROC's paired difference to the best baseline is above 0; ranked features only", nullable=True),
        ),
        ("collection", "latent_scoring", "contrast", "template", "position", "sae", "entity_type", "feature_id"),
        ("collection", "sae"),
        rules=(
            Rule(
                "ranked features pass the filter, or it was not measured",
                "rank, passes_filter",
                "select collection, latent_scoring, sae, feature_id, rank from entity_latents where rank is not null and not coalesce(passes_filter, true)",
            ),
        ),
    ),
    Table(
        "entity_baselines",
        "what tells the same classes apart without any SAE: lengths, fame, confidence, a linear probe",
        (
            COLLECTION,
            SCORING,
            CONTRAST,
            *PLACE,
            TYPE,
            Column("baseline", string, "n_tokens, n_characters, popularity, token_frequency, confidence or probe"),
            Column("layer", int32, "layer of the probe's residual; NULL for the others", nullable=True, minimum=0),
            DIRECTION,
            Column("n_positive", int64, "test entities of the first class that have the number", minimum=0),
            Column("n_negative", int64, "the same of the second class", minimum=0),
            *by_entity("auroc", "AUROC on the same test entities, oriented on train"),
            Column("matched", boolean, "whether classes are matched on token count"),
            Column("confounded", boolean, "this baseline alone exceeds the limit of the settings"),
        ),
        ("collection", "latent_scoring", "contrast", "template", "position", "entity_type", "baseline", "layer"),
        ("collection",),
    ),
    Table(
        "entity_activations",
        "activation of a ranked feature on one entity; no row where it is silent",
        (
            COLLECTION,
            SCORING,
            CONTRAST,
            *PLACE,
            Column("sae", string, "key of the SAE"),
            FEATURE,
            ENTITY,
            Column("activation", float64, "its activation", minimum=0),
        ),
        ("collection", "latent_scoring", "contrast", "template", "position", "sae", "feature_id", "entity_id"),
        ("collection",),
    ),
    Table(
        "entity_classifiers",
        "telling right from wrong answers by one number: threshold and calibration from validation, scores on test",
        (
            COLLECTION,
            SCORING,
            CONTRAST,
            *PLACE,
            TYPE,
            Column("score", string, "latent, probe or confidence"),
            Column("sae", string, "key of the SAE of the latent", nullable=True),
            Column("feature_id", int32, "the latent", nullable=True, minimum=0),
            Column("layer", int32, "layer of the latent or the probe", nullable=True, minimum=0),
            Column("threshold", float64, "from this value on the first class is predicted: best F1 on validation", nullable=True),
            Column("n_positive", int64, "test answers of the first class", minimum=0),
            Column("n_negative", int64, "test answers of the second class", minimum=0),
            *by_entity("auroc", "AUROC, test"),
            share("precision", "of predicted right answers, test"),
            share("recall", "of right answers, test"),
            share("f1", "harmonic mean of both, test"),
            share("brier", "mean squared error of the probability from a logistic fit on validation, test"),
            share("calibration_error", "expected calibration error of the same, ten bins of equal width, test"),
        ),
        ("collection", "latent_scoring", "contrast", "template", "position", "entity_type", "score"),
        ("collection",),
    ),
    Table(
        "entity_transport",
        "how far a ranked feature's activation at an entity is predicted from a lower layer",
        (
            COLLECTION,
            SCORING,
            CONTRAST,
            *PLACE,
            Column("sae", string, "key of the SAE"),
            FEATURE,
            *PAIR,
            Column("method", string, "method of the operator"),
            Column("operator", string, "key of the operator"),
            Column("n_entities", int64, "test entities", minimum=0),
            *by_entity("r2", "1 - squared error of the activation predicted by the operator over that of its mean"),
            *by_entity("r2_identity", "the same with the source residual itself in place of its transport"),
        ),
        ("collection", "latent_scoring", "contrast", "template", "position", "sae", "feature_id", "source_layer", "method"),
        ("collection",),
    ),
    Table(
        "entity_interventions",
        "what the model answers about one entity while a direction of its residual is changed",
        (
            COLLECTION,
            INTERVENING,
            ENTITY,
            Column("label", string, "known or unknown"),
            Column("intervention", string, "none, steer, ablate or orthogonalise"),
            Column("direction", string, "known or unknown: the best latents; random_latent_for_known and the like: a control of one; empty for none"),
            Column("draw", int32, "number of the random draw; 0 for the others", minimum=0),
            Column("layer", int32, "edited layer; NULL for none and for weights", nullable=True, minimum=0),
            Column("sae", string, "key of the latent's SAE", nullable=True),
            Column("feature_id", int32, "the latent; NULL for random directions and none", nullable=True, minimum=0),
            Column("strength", float64, "multiple of the residual's norm that is added; NULL unless steered", nullable=True),
            Column("position", string, "edited positions of the prompt; empty for none and for weights"),
            Column("attribute", string, "what was asked"),
            Column("completion", string, "greedy answer"),
            Column("grade", string, "correct, wrong or abstain"),
            Column("self_report", float64, "logit of Yes minus logit of No to being asked whether it knows the entity", nullable=True),
            Column("attention", float64, "attention from the last token to the entity, mean over heads and layers; NULL if not read", nullable=True, minimum=0, maximum=1),
        ),
        ("collection", "intervening", "entity_id", "intervention", "direction", "draw", "position", "attribute"),
        ("collection",),
        rules=(
            in_entities("entity_interventions"),
            Rule(
                "every intervention has its unedited counterpart on the same entity",
                "intervention, entity_id",
                """select i.collection, i.intervening, i.entity_id, i.intervention from entity_interventions as i
                anti join (from entity_interventions where intervention = 'none') using (collection, intervening, entity_id, attribute)""",
            ),
        ),
    ),
    Table(
        "entity_intervention_effects",
        "what an intervention changes, paired by entity, and how many random draws change as much",
        (
            COLLECTION,
            INTERVENING,
            Column("label", string, "known or unknown: the entities"),
            Column("intervention", string, "steer, ablate or orthogonalise"),
            Column("direction", string, "known or unknown: the latent"),
            Column("position", string, "edited positions of the prompt; empty for weights"),
            Column("strength", float64, "chosen on validation entities; NULL unless steered", nullable=True),
            Column("outcome", string, "correct, wrong, abstain (shares), self_report (logits), attention (share) or kl (nats, on ordinary text)"),
            Column("n_entities", int64, "test entities; for kl, sequences", minimum=0),
            Column("unedited", float64, "mean without the intervention", nullable=True),
            *by_entity("change", "mean change against the same entities unedited"),
            Column("n_draws", int64, "random draws of the same kind of edit", minimum=0),
            Column("control_mean", float64, "mean change over random latents of the same SAE, nearest in firing rate and decoder norm", nullable=True),
            Column("control_sd", float64, "standard deviation of it over draws", nullable=True, minimum=0),
            share("p_control", "(1 + draws whose change is at least as large in size) / (1 + draws)"),
        ),
        ("collection", "intervening", "label", "intervention", "direction", "position", "outcome"),
        ("collection",),
    ),
)
