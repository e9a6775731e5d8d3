"""Tables: entities, what the model says about them, and where their residuals are."""

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
    share,
    string,
)

# fmt: off
ENTITY = Column("entity_id", string, "id of the entity: hash of its type and name")
SET = Column("entity_set", string, "key of the set of entities: sources, numbers and seed")
ANSWERING = Column("answering", string, "key of the answers: set, attributes, prompt family and decoding")
LABELLING = Column("labelling", string, "key of the labels: answers and rule")
READING = Column("reading", string, "key of the residuals at entities: set, templates, positions and layers")
ASKED = Column("attribute", string, "what was asked")
GRADE = Column("grade", string, "correct, wrong or abstain")
PLACE = (
    Column("template", string, "prompt that contains the entity: name, or an attribute of its type"),
    Column("position", string, "named position of the prompt: entity_first, entity_last, question_end or last_eoi"),
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
            Column("invented", boolean, "made by recombining parts of names: it cannot be known"),
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
            ASKED,
            Column("family", string, "prompt family: continuation, chat_prefill or chat_free"),
            Column("sample", int32, "0: greedy; 1 and up: drawn at the temperature of the settings", minimum=0),
            Column("template", string, "name of the prompt template"),
            Column("completion", string, "generated text, without the prompt"),
            GRADE,
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
            share("share_correct", "share of all samples that are right"),
            share("share_abstain", "share of all samples that abstain"),
            Column("confidence", float64, "mean log-probability per token of the greedy answers", unit="nats", nullable=True, maximum=0.001),
            Column("rule", string, "the rule in words"),
        ),
        ("collection", "labelling", "entity_id"),
        ("collection",),
        rules=(in_entities("entity_labels"),),
    ),
    Table(
        "entity_positions",
        "where an entity is in a prompt, and which of its tokens is read",
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
)
