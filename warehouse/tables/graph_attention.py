"""Tables: which attention heads an edge of a graph passes, and what they read."""

from warehouse.tables.declarations import (
    Column,
    Rule,
    Table,
    float64,
    int32,
    string,
)
from warehouse.tables.graphs import GRAPH, KEY, KEY_LIST, TOLERANCE, one_of

# fmt: off


def side(name: str) -> tuple[Column, ...]:
    """What of the prompt writes into a query or a key."""
    return (
        Column(f"{name}_kind", string, f"kind of the node that writes into the {name}: feature, error, token or constant"),
        Column(f"{name}_layer", int32, "its layer; -1 for tokens and the constant", minimum=-1),
        Column(f"{name}_node_position", int32, "its position, which may be an earlier one; 0 for the constant", minimum=0),
        Column(f"{name}_feature_id", int32, "its number; NULL for what is no feature", nullable=True, minimum=0),
    )


TABLES = (
    Table(
        "graph_heads",
        "what of an edge of a graph passes an attention head, and where the head looked",
        (
            *GRAPH,
            Column("source", int32, "node that acts", minimum=0),
            Column("target", int32, "node that is acted on", minimum=0),
            Column("layer", int32, "block of the head", minimum=0),
            Column("head", int32, "number of the head in its block", minimum=0),
            Column("contribution", float64, "part of the edge's weight on paths whose last head this is: those of all heads and direct sum to the weight"),
            Column("through", float64, "part of the edge's weight on all paths through the head; paths through several heads count for each"),
            Column("direct", float64, "part of the edge's weight on paths that pass no head, the same in each row of an edge"),
            Column("key_position", int32, "position that most of the contribution was read at", minimum=0),
            Column("key_contribution", float64, "part of the contribution that was read there"),
            Column("attention", float64, "attention weight of the head from the target's position to it", minimum=0, maximum=1),
            Column("score", float64, "scaled product of query and key of the two positions, before soft cap and mask; NULL where it was not traced", nullable=True),
            Column("mean_score", float64, "mean of the scores of all positions up to the target's: what the head's look is relative to", nullable=True),
            Column("rest", float64, "sum of the parts of the score that are not in graph_qk", nullable=True),
        ),
        (*KEY, "source", "target", "layer", "head"),
        ("collection",),
        rules=(
            Rule(
                "parts of heads and the direct path sum to the edge",
                "contribution",
                f"""with added as (
                    select {KEY_LIST}, source, target, sum(contribution) as added, sum(abs(contribution)) as size,
                        min(direct) as direct, max(direct) as largest
                    from graph_heads group by all
                )
                select {KEY_LIST}, source, target, e.weight, added, direct from added
                left join known_graph_edges as e using ({KEY_LIST}, source, target)
                left join (select {KEY_LIST}, {TOLERANCE} as tolerance from known_graphs) using ({KEY_LIST})
                where e.weight is null or direct <> largest
                    or abs(added + direct - e.weight) > tolerance * greatest(abs(e.weight), size + abs(direct))""",
            ),
            Rule(
                "the parts of a traced score sum to it",
                "score",
                f"""with parts as (
                    select {KEY_LIST}, layer, head, query_position, key_position, sum(weight) as added, sum(abs(weight)) as size
                    from known_graph_qk group by all
                )
                select {KEY_LIST}, h.layer, h.head, h.key_position, h.score, p.added, h.rest from graph_heads as h
                inner join known_graph_nodes as t using ({KEY_LIST})
                left join parts as p using ({KEY_LIST})
                left join (select {KEY_LIST}, {TOLERANCE} as tolerance from known_graphs) using ({KEY_LIST})
                where t.node = h.target and p.layer = h.layer and p.head = h.head and p.query_position = t.position
                    and p.key_position = h.key_position and h.score is not null
                    and abs(p.added + h.rest - h.score) > tolerance * greatest(abs(h.score), p.size + abs(h.rest))""",
            ),
        ),
    ),
    Table(
        "graph_qk",
        "a pair of nodes that makes a part of an attention score: what asked, and what answered",
        (
            *GRAPH,
            Column("layer", int32, "block of the head", minimum=0),
            Column("head", int32, "number of the head in its block", minimum=0),
            Column("query_position", int32, "position that looked", minimum=0),
            Column("key_position", int32, "position that was attended to", minimum=0),
            Column("pair", int32, "rank of the pair by magnitude, from 0", minimum=0),
            Column("weight", float64, "part of the score: product of what the two nodes write into query and key"),
            *side("query"),
            *side("key"),
        ),
        (*KEY, "layer", "head", "query_position", "key_position", "pair"),
        ("collection",),
        rules=(
            one_of("graph_qk", "query_kind", "feature", "error", "token", "constant"),
            one_of("graph_qk", "key_kind", "feature", "error", "token", "constant"),
            Rule(
                "the score is that of a head in graph_heads",
                "layer, head",
                f"""select distinct {KEY_LIST}, layer, head, query_position, key_position from graph_qk as q
                anti join known_graph_heads as h on {" and ".join(f"h.{c} = q.{c}" for c in KEY)} and h.layer = q.layer
                    and h.head = q.head and h.key_position = q.key_position and h.score is not null""",
            ),
        ),
    ),
)
