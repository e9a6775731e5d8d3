"""Page ``graphs``: which features of a prompt make which others and the next token, and what of that is transport."""

from collections.abc import Collection
from dataclasses import replace

from dashboards.site.declarations import Choice, Column, Page, Panel
from dashboards.ui.declared import TO_FEATURE
from dashboards.views.graphs.about import EMPTY
from dashboards.views.graphs.edges import RECURRING_EDGES, STRONGEST_EDGES
from dashboards.views.graphs.heads import HEADS_OF_EDGES, PAIRS_OF_HEADS
from dashboards.views.graphs.summary import ALL_GRAPHS, CHECKS_OF_GRAPH
from dashboards.views.graphs.view_state import NAMES
from dashboards.views.graphs.viewer import OF_GRAPH, READING

INFLUENCE = "graph_edge_influence"
"""Table of the site."""
PROMPTS = """select distinct prompt
from graph_summary
where collection = $collection
order by prompt"""
KINDS = """select graph_kind
from graph_summary
where collection = $collection and prompt = $prompt
order by graph_kind"""
SETS = """select graph_set
from graph_summary
where collection = $collection and prompt = $prompt and graph_kind = $graph_kind"""
GRAPH = f"""with incoming as (
    select
        target as node,
        list(source order by source) as sources,
        list(weight order by source) as weights,
        list(transport_weight order by source) as transport_weights,
        list(transport_share order by source) as transport_shares,
        list(influence order by source) as influences
    from graph_edges
    inner join {INFLUENCE} using (collection, graph_set, prompt, graph_kind, source, target)
    where {OF_GRAPH}
    group by target
),

prompt_tokens as (
    select tokens
    from graphs
    where {OF_GRAPH}
),

proposed as (
    select list(list_prepend(name, node_ids) order by supernode) as supernodes
    from graph_supernodes
    where {OF_GRAPH}
)

select
    node, node_id, kind, layer, position, token, feature_id, token_id, label, activation, influence, total, transport_share,
    sources, weights, transport_weights, transport_shares, influences,
    if(node = 0, tokens, null) as tokens, if(node = 0, supernodes, null) as proposed
from graph_nodes
left join incoming using (node)
cross join prompt_tokens
cross join proposed
where {OF_GRAPH}
order by node"""
CLICKED = f"""select token, layer, position, feature_id, label, activation, transport_share, n_compared, sae
from graph_nodes
where {OF_GRAPH} and node_id = $clicked and feature_id is not null"""
DRAWN = Panel("Graph", GRAPH, note=READING, empty=EMPTY, view="graph")
OF_CLICKED = Panel(
    "Feature of the clicked node",
    CLICKED,
    note="Transport: share of the compared effect on it that operators carry, over so many edges.",
    empty="Click a feature in the graph to see what it is.",
    view="facts",
    columns=(
        Column("feature_id", "feature"),
        Column("layer", "layer"),
        Column("label", "label"),
        Column("token", "active on"),
        Column("position", "at position"),
        Column("activation", "activation"),
        Column("transport_share", "transport", "percent"),
        Column("n_compared", "edges compared", "integer"),
    ),
    link=TO_FEATURE,
)


def page(known: Collection[str]) -> Page:
    """One graph of one prompt; drawn where the table of influence is known."""
    of_heads = [replace(p, sql=p.sql.replace("$node_id", "$clicked")) for p in (HEADS_OF_EDGES, PAIRS_OF_HEADS)]
    drawn = (DRAWN,) if INFLUENCE in known else ()
    return Page(
        "graphs",
        "Graphs",
        "Which features make which others and the next token, and what of that is transport?",
        (
            Choice("prompt", "Prompt", PROMPTS),
            Choice("graph_kind", "Graph", KINDS),
            Choice("graph_set", "Set", SETS, kind="state"),
            *(Choice(name, name, kind="state") for name in NAMES),
        ),
        (CHECKS_OF_GRAPH, *drawn, OF_CLICKED, *of_heads, STRONGEST_EDGES, RECURRING_EDGES, ALL_GRAPHS),
        needs="graph_summary",
        compared="graph:$prompt/$graph_kind",
    )
