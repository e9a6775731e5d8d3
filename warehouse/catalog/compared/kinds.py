"""The kinds of things that can be compared: how each is named in an address, and which there are.

| kind | id |
|---|---|
| ``feature`` | ``SAE/345``, or ``L12/345`` where one SAE of the collection reads layer 12 |
| ``operator``, ``sae``, ``collection`` | its key |
| ``entity`` | ``Paris (city)``, its name alone where one entity has it, or its id |
| ``graph`` | ``PROMPT/attribution`` or ``PROMPT/transport`` |
"""

from dataclasses import dataclass

SHOWN = 300
"""Of a kind in one list; any other can be named."""


@dataclass(frozen=True)
class Kind:
    """A kind of thing that can be compared."""

    name: str
    """In addresses."""
    noun: str
    plural: str
    known: str
    """Select of ``collection, id, shown`` and what statements need: all that there is, of features their SAEs."""
    offered: str
    """Select of ``id, shown`` in ``$collection``, the most interesting first."""
    example: str
    """Of an id."""
    command: str
    """That makes the first one."""


_SAES = """select collection, sae, layer, d_sae, 1 as place from saes
union all
select s.collection, s.sae, s.layer, s.d_sae, 2 from studied_saes as s anti join saes using (collection, sae)
union all
select distinct c.other_collection, c.sae, c.target_layer, s.d_sae, 3
from latest_comparisons as c
left join saes as s on s.collection = c.collection and s.sae = c.sae
anti join saes as o on o.collection = c.other_collection and o.sae = c.sae
union all
select distinct l.collection, l.sae, l.layer, null, 4
from labelled_features as l
anti join saes using (collection, sae)
anti join studied_saes using (collection, sae)"""
"""SAEs, those of a study, those that judged another model, and neurons with labels."""

_ENTITIES = """select
    collection,
    if(count(*) over (partition by collection, name, entity_type) = 1, name || ' (' || entity_type || ')', entity_id) as id,
    name || ' (' || entity_type || ')' as shown, name, entity_id, label, popularity
from entity_knowledge"""

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "feature",
            "feature",
            "features",
            f"select collection, sae as id, sae as shown, sae, layer, d_sae, place from ({_SAES})",
            f"""select sae || '/' || feature_id as id,
    'L' || layer || '/' || feature_id || coalesce(' · ' || array_to_string(list_transform(top_tokens[:3], lambda t: trim(t)), ', '), '')
        as shown
from latest_feature_scores
where collection = $collection
order by selected desc, rank nulls last, layer, sae, feature_id
limit {SHOWN}""",
            "L12/345",
            "ato run features",
        ),
        Kind(
            "operator",
            "operator",
            "operators",
            """select collection, operator as id, method || ' ' || source_layer || ' → ' || target_layer as shown, operator, source_layer,
    target_layer, method, position_policy
from operators""",
            """select operator as id, method || ' ' || source_layer || ' → ' || target_layer || ' · ' || operator as shown
from operators
where collection = $collection
order by method <> 'ridge', target_layer not in (select layer from saes where collection = $collection), target_layer,
    source_layer desc, method, operator""",
            "ridge-l08-k04-0123abcd",
            "ato run operators",
        ),
        Kind(
            "sae",
            "SAE",
            "SAEs",
            f"select collection, sae as id, sae as shown, sae, layer from ({_SAES}) where place < 3",
            f"""select sae as id, 'L' || layer || ' · ' || sae as shown
from ({_SAES})
where collection = $collection and place < 3
order by place, layer, sae""",
            "topk-l12-1024-0123abcd",
            "ato run saes",
        ),
        Kind(
            "collection",
            "collection",
            "collections",
            "select collection, collection as id, collection as shown from collections",
            """select collection as id, collection as shown
from collections
order by collection <> $collection, created_at desc, collection""",
            "smollm2-135m-sotu-60k-0123abcd",
            "ato run collect",
        ),
        Kind(
            "entity",
            "entity",
            "entities",
            f"select collection, id, shown, name, entity_id from ({_ENTITIES})",
            f"""select id, shown
from ({_ENTITIES})
where collection = $collection
order by label is null, label in ('invented', 'not_asked'), popularity desc nulls last, name, entity_id
limit {SHOWN}""",
            "Paris (city)",
            "ato run entities --profile demo-entities",
        ),
        Kind(
            "graph",
            "graph",
            "graphs",
            """select collection, prompt || '/' || graph_kind as id, prompt || ', ' || graph_kind as shown, graph_set, prompt, graph_kind
from graph_summary""",
            f"""select prompt || '/' || graph_kind as id, prompt || '/' || graph_kind as shown
from graph_summary
where collection = $collection
order by graph_kind, prompt
limit {SHOWN}""",
            "capital/attribution",
            "ato run graphs --profile demo-graphs",
        ),
    )
}
