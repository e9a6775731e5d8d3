"""Panels of the page ``entities``: one entity, its answers and its active features."""

import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.compare_link import compare_with
from dashboards.ui.declared import TO_FEATURE, Column, Panel
from dashboards.ui.declared_panel import draw_panel
from dashboards.ui.navigation import link
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.views.entities.counts import EMPTY

OFFERED = 2000
"""Entities of the list; the SQL page has all."""

ENTITIES = f"""select entity_id, name || ' (' || entity_type || ')' as shown
from entity_knowledge
where collection = $collection and ($entity_type is null or $entity_type = 'all' or entity_type = $entity_type)
order by label is null, label in ('invented', 'not_asked'), popularity desc nulls last, name, entity_id
limit {OFFERED}"""

FACTS = """select
    entity_type, name, replace(coalesce(label, 'not_asked'), '_', ' ') as label, n_right, n_asked, share_correct, share_abstain, confidence,
    split, popularity, n_tokens, n_characters, token_frequency, invented, source, rule, entity_id
from entity_knowledge
where collection = $collection and entity_id = $entity_id"""

ANSWERS = """select
    a.attribute, t.value, a.family, replace(a.template, '_', ' ') as template, a.sample, a.completion, a.grade,
    a.log_probability, a.p_correct, a.grader
from entity_answers as a
inner join entity_knowledge as k
    on k.collection = a.collection and k.entity_id = a.entity_id and k.answering = a.answering
left join entity_attributes as t
    on t.collection = k.collection and t.entity_set = k.entity_set and t.entity_id = k.entity_id
    and t.attribute = a.attribute
where a.collection = $collection and a.entity_id = $entity_id
order by a.attribute, a.family, a.sample"""

ACTIVE = """with ranked as (
    select * from entity_latent_ranking
    where collection = $collection and contrast = $contrast and template = $template and position = $position
    qualify row_number() over (partition by sae, feature_id order by entity_type = 'all' desc, rank, entity_type) = 1
)

select r.direction, r.rank, r.layer, r.feature_id, a.activation, r.auroc, r.top_tokens, r.sae
from entity_activations as a
inner join ranked as r using (collection, latent_scoring, contrast, template, position, sae, feature_id)
where a.collection = $collection and a.entity_id = $entity_id and a.activation > 0
order by r.direction, r.rank"""

ONE_ENTITY = Panel(
    "One entity",
    FACTS,
    note="Label: whether the model knows it, by its graded answers.",
    empty=EMPTY,
    view="facts",
    columns=(
        Column("name", "name"),
        Column("entity_type", "type"),
        Column("label", "label"),
        Column("n_right", "attributes known", "integer"),
        Column("n_asked", "attributes asked", "integer"),
        Column("share_correct", "right answers", "percent"),
        Column("share_abstain", "withheld answers", "percent"),
        Column("confidence", "confidence (nats per token)"),
        Column("popularity", "popularity", "integer"),
        Column("n_tokens", "tokens", "integer"),
        Column("n_characters", "characters", "integer"),
        Column("split", "split"),
        Column("source", "source"),
        Column("rule", "rule"),
    ),
)
ITS_ANSWERS = Panel(
    "Its answers",
    ANSWERS,
    note="Completions without their prompts; sample 0 is greedy. `p correct`: probability of the right answer "
    "against distractors. Log-probability: sum over the tokens of the completion, in nats.",
    empty=EMPTY,
    columns=(
        Column("attribute", "attribute"),
        Column("value", "right answer"),
        Column("family", "family"),
        Column("template", "template"),
        Column("sample", "sample"),
        Column("completion", "completion"),
        Column("grade", "grade"),
        Column("log_probability", "log-probability"),
        Column("p_correct", "p correct"),
        Column("grader", "grader"),
    ),
    wide=False,
)
ITS_FEATURES = Panel(
    "Its active features",
    ACTIVE,
    note="Ranked features that are active on it at the chosen prompt and position, for the class that they favour "
    "on train; all others are inactive there, or were not recorded. Tick a row to open the feature.",
    empty="No ranked feature is active on it here; activations come from `ato run entities`.",
    columns=(
        Column("direction", "higher on"),
        Column("rank", "rank"),
        Column("layer", "layer"),
        Column("feature_id", "feature"),
        Column("activation", "activation"),
        Column("auroc", "AUROC, test"),
        Column("top_tokens", "promotes", "list"),
        Column("sae", "SAE"),
    ),
    link=TO_FEATURE,
    wide=False,
)


def one_entity(about: dict[str, object]) -> None:
    """Facts, answers and features of the entity that the address names."""
    offered = ask(filled(ENTITIES, collection=about["collection"], entity_type=about["entity_type"]))
    names = dict(offered.rows())
    entity_id = choose("Entity", "entity", list(names), format=lambda entity: names.get(entity, entity))
    if entity_id is not None:
        compare_with("entity", names[str(entity_id)])
    own = {"collection": about["collection"], "entity_id": entity_id}
    draw_panel(ONE_ENTITY, _facts, **own)
    left, right = st.columns([3, 2])
    with left:
        draw_panel(ITS_ANSWERS, **own)
    with right:
        draw_panel(ITS_FEATURES, **about, entity_id=entity_id)


def _facts(rows: pl.DataFrame) -> None:
    (row,) = rows.iter_rows(named=True)
    with st.container(horizontal=True):
        st.metric("Label", row["label"], width="content", help=plain(row["rule"]))
        for name, format, label in (
            ("n_right", ",d", "Attributes known"),
            ("n_asked", ",d", "Attributes asked"),
            ("share_correct", ".0%", "Right answers"),
            ("share_abstain", ".0%", "Withheld answers"),
            ("confidence", ".2f", "Confidence (nats per token)"),
            ("popularity", ",.0f", "Popularity"),
            ("n_tokens", ",d", "Tokens"),
            ("n_characters", ",d", "Characters"),
        ):
            st.metric(label, "–" if row[name] is None else f"{row[name]:{format}}", width="content")
    st.caption(plain(f"{row['name']}: {row['entity_type']}, {row['split']}; from {row['source']}."))
    link("Documents of the corpus that name it", "reader", words=row["name"])
