"""Tables: graphs of prompts, by attribution and by transport operators, with their checks; edges that recur over prompts."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
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
SET = Column("graph_set", string, "key of the graphs of a prompt, of motifs that of their prompts: SAEs, operators and settings")
GRAPH = (
    COLLECTION,
    SET,
    Column("prompt", string, "name of the prompt: of its file, or of its line in it"),
    Column("graph_kind", string, "attribution (gradients of the locally linear model) or transport (operators)"),
)
KEY = ("collection", "graph_set", "prompt", "graph_kind")
_KEY = ", ".join(KEY)
_TOLERANCE = "case precision when 'float64' then 1e-9 when 'float32' then 1e-4 else 'infinity'::double end"


def count(name: str, meaning: str) -> Column:
    """A number of things."""
    return Column(name, int64, meaning, minimum=0)


def share(name: str, meaning: str) -> Column:
    """A share; NULL where there is nothing to share."""
    return Column(name, float64, meaning, nullable=True, minimum=0, maximum=1)


def correlation(name: str, meaning: str) -> tuple[Column, ...]:
    """A correlation over sampled edges with its 95 % interval; NULL where none were ablated."""
    ends = (("", ""), ("_low", "lower end of the 95 % interval of: "), ("_high", "upper end of the 95 % interval of: "))
    return tuple(
        Column(f"{name}{end}", float64, f"{what}{meaning}", nullable=True, minimum=-1, maximum=1) for end, what in ends
    )


def of_a_graph(table: str) -> Rule:
    """Every row belongs to a graph."""
    return Rule(
        "graph is in graphs", _KEY, f"select distinct {_KEY} from {table} anti join known_graphs using ({_KEY})"
    )


def one_of(table: str, column: str, *values: str) -> Rule:
    """A column with few values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return Rule(
        f"{column} is {', '.join(values[:-1])} or {values[-1]}",
        column,
        f"select distinct {_KEY}, {column} from {table} where {column} not in ({listed})",
    )


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
        "graphs",
        "a graph of one prompt, and the checks of it",
        (
            *GRAPH,
            Column("text", string, "the prompt as it was tokenised, its target included if that was its end"),
            Column("token_ids", pa.list_(int64), "of the prompt, BOS included"),
            Column("tokens", pa.list_(string), "their texts", as_long_as="token_ids"),
            Column("target_token_id", int64, "token that was to be explained; NULL if the likeliest were", nullable=True, minimum=0),
            Column("target_token", string, "its text", nullable=True),
            Column("targets", pa.list_(string), "texts of all explained tokens, or of a difference of two; empty for transport"),
            Column("layers", pa.list_(int32), "layers whose residual stream an SAE reads"),
            Column("saes", pa.list_(string), "keys of these SAEs, or of transcoders", as_long_as="layers"),
            Column("operators", pa.list_(string), "keys of the operators of the transport graph"),
            Column("max_features", int64, "features with edges at most; NULL of transport, where all have edges", nullable=True, minimum=1),
            Column("n_tokens", int64, "tokens of the prompt, BOS included", unit="tokens", minimum=1),
            Column("left_out", pa.list_(int32), "positions without features: those that the collection leaves out, which SAEs were not trained on"),
            count("n_active", "active features of the prompt at these layers"),
            count("n_nodes", "nodes kept, as in graph_nodes"),
            count("n_edges", "edges kept, as in graph_edges"),
            count("n_nodes_whole", "nodes before pruning"),
            count("n_edges_whole", "edges before pruning"),
            Column("node_threshold", float64, "share of the nodes' influence that was kept; NULL: not pruned", nullable=True, minimum=0, maximum=1),
            Column("edge_threshold", float64, "share of the edges' score that was kept; NULL: not pruned", nullable=True, minimum=0, maximum=1),
            share("replacement", "replacement score of the whole graph: influence of inputs over that of inputs and errors"),
            share("completeness", "completeness score of the whole graph: share of inputs that are no errors, by influence"),
            share("error_share", "share of all absolute weight of the whole graph that comes from error nodes"),
            share("transport_share", "share of the compared absolute effect between features that is transport"),
            share("same_position_share", "share of the compared absolute effect within one position: the most that transport can be"),
            Column("precision", string, "number format of the computation: float64, float32 or bfloat16"),
            Column("conservation_residual", float64, "largest of all targets of the whole graph: |sum of incoming edges - total| over the larger of |total| and the sum of |edges|; NULL without targets", nullable=True, minimum=0),
            Column("repeat_difference", float64, "largest difference of any edge when computed again, over the largest edge; NULL if it was not", nullable=True, minimum=0),
            count("n_ablated", "edges of the random sample that ablation measured"),
            Column("frozen_gap", float64, "largest difference of a sampled edge from its ablation in the frozen model, over the largest sampled edge; NULL where none were ablated", nullable=True, minimum=0),
            *correlation("pearson", "Pearson correlation of edges and ablations in the real model"),
            *correlation("spearman", "rank correlation of edges and ablations in the real model"),
            *correlation("pearson_control", "Pearson correlation of these ablations with other random edges into the same targets"),
            Column("path", string, "folder of its files, relative to the warehouse; NULL without files", nullable=True),
            Column("seconds", float64, "time that the graph took", unit="seconds", minimum=0, volatile=True),
        ),
        KEY,
        ("collection",),
        rules=(
            one_of("graphs", "graph_kind", "attribution", "transport"),
            one_of("graphs", "precision", "float64", "float32", "bfloat16"),
            Rule(
                "conservation_residual is at most 1e-9 in float64 and 1e-4 in float32",
                "conservation_residual",
                f"select {_KEY}, precision, conservation_residual from graphs where conservation_residual > {_TOLERANCE}",
            ),
            Rule(
                "n_nodes and n_edges are the rows of graph_nodes and graph_edges",
                "n_nodes, n_edges",
                f"""with n as (select {_KEY}, count(*) as n from known_graph_nodes group by {_KEY}),
                m as (select {_KEY}, count(*) as m from known_graph_edges group by {_KEY})
                select {_KEY}, n_nodes, n, n_edges, m from graphs left join n using ({_KEY}) left join m using ({_KEY})
                where n_nodes <> coalesce(n, 0) or n_edges <> coalesce(m, 0)""",
            ),
            Rule(
                "no more nodes and edges are kept than there are",
                "n_nodes, n_edges",
                f"select {_KEY}, n_nodes, n_nodes_whole, n_edges, n_edges_whole from graphs "
                "where n_nodes > n_nodes_whole or n_edges > n_edges_whole",
            ),
        ),
    ),
    Table(
        "graph_nodes",
        "a node of a graph",
        (
            *GRAPH,
            Column("node", int32, "number of the node in its graph", minimum=0),
            Column("node_id", string, "name of the node in the graph's file"),
            Column("kind", string, "feature, error (of an SAE), transport_error, token, constant or logit"),
            Column("layer", int32, "layer of the SAE site, of the target for transport_error; -1 for tokens and constants; number of layers for logits", minimum=-1),
            Column("position", int32, "position in the prompt; of a logit the one that predicts it", unit="tokens", minimum=0),
            Column("token", string, "text of the token at this position; of a logit the predicted token"),
            Column("sae", string, "key of the SAE; NULL for what is no feature or SAE error", nullable=True),
            Column("feature_id", int32, "index of the feature in the SAE", nullable=True, minimum=0),
            Column("token_id", int64, "token of a token or logit node", nullable=True, minimum=0),
            Column("label", string, "what the feature is called", nullable=True),
            Column("activation", float64, "activation of a feature, probability of a logit", nullable=True, minimum=0),
            share("influence", "cumulative share of influence at the node's rank in the whole graph: small is important"),
            Column("total", float64, "value that the node's incoming edges must sum to: pre-activation or logit; NULL for leaves", nullable=True),
            Column("residual", float64, "how far all incoming edges of the whole graph miss it, relative to what was added; NULL for leaves", nullable=True, minimum=0),
            Column("pruned_weight", float64, "sum of the incoming edges that were pruned; NULL for leaves", nullable=True),
            Column("absolute_weight", float64, "sum of the magnitudes of all incoming edges of the whole graph; NULL for leaves", nullable=True, minimum=0),
            share("transport_share", "share of the compared absolute effect on the feature that is transport"),
            Column("n_compared", int64, "incoming edges compared with transport; NULL for what is no feature", nullable=True, minimum=0),
        ),
        (*KEY, "node"),
        ("collection",),
        rules=(
            of_a_graph("graph_nodes"),
            one_of("graph_nodes", "kind", "feature", "error", "transport_error", "token", "constant", "logit"),
            Rule(
                "features have a feature_id and an activation, others no feature_id",
                "feature_id, activation",
                f"select {_KEY}, node, kind, feature_id, activation from graph_nodes "
                "where (kind = 'feature') <> (feature_id is not null) or (kind = 'feature' and activation is null)",
            ),
            Rule(
                "edges of a whole graph sum to the totals of their targets",
                "total",
                f"""with whole as (
                    select {_KEY}, {_TOLERANCE} as tolerance from known_graphs where n_edges = n_edges_whole
                ),
                added as (
                    select {_KEY}, target as node, sum(weight) as added, sum(abs(weight)) as size
                    from known_graph_edges semi join whole using ({_KEY}) group by all
                )
                select {_KEY}, node, total, added
                from graph_nodes inner join whole using ({_KEY}) left join added using ({_KEY}, node)
                where total is not null
                    and abs(coalesce(added, 0) - total) > tolerance * greatest(abs(total), coalesce(size, 0))""",
            ),
            Rule(
                "kept edges and what was pruned sum to the totals of their targets",
                "total",
                f"""with added as (select {_KEY}, target as node, sum(weight) as added from known_graph_edges group by all)
                select {_KEY}, node, total, coalesce(added, 0) + pruned_weight as added
                from graph_nodes inner join (select {_KEY}, {_TOLERANCE} as tolerance from known_graphs) using ({_KEY})
                left join added using ({_KEY}, node)
                where pruned_weight is not null and abs(coalesce(added, 0) + pruned_weight - total)
                    > tolerance * greatest(abs(total), absolute_weight)""",
            ),
        ),
    ),
    Table(
        "graph_edges",
        "the direct effect of one node on another",
        (
            *GRAPH,
            Column("source", int32, "node that acts", minimum=0),
            Column("target", int32, "node that is acted on", minimum=0),
            Column("weight", float64, "direct effect: part of the target's pre-activation or logit that comes from the source"),
            Column("transport_weight", float64, "the same edge by the operator between the two layers, 0 between different positions; NULL if no operator joins the layers or the nodes are no features", nullable=True),
            share("transport_share", "transport_weight over weight, clipped to [0, 1]; NULL where either is missing or weight is 0"),
            Column("ablation", float64, "change of the target in the real model that removing the source makes, with its sign reversed; NULL if the edge was not sampled", nullable=True),
        ),
        (*KEY, "source", "target"),
        ("collection",),
        rules=(
            Rule(
                "source and target are in graph_nodes",
                "source, target",
                f"""select {_KEY}, source, target from graph_edges as e
                anti join known_graph_nodes as n on {" and ".join(f"n.{c} = e.{c}" for c in KEY)} and n.node = e.source
                union all
                select {_KEY}, source, target from graph_edges as e
                anti join known_graph_nodes as n on {" and ".join(f"n.{c} = e.{c}" for c in KEY)} and n.node = e.target""",
            ),
            Rule(
                "no node acts on itself",
                "source, target",
                f"select {_KEY}, source, target from graph_edges where source = target",
            ),
            Rule(
                "transport stays at its position",
                "source, target",
                f"""select {_KEY}, e.source, e.target from graph_edges as e
                inner join known_graph_nodes as s using ({_KEY}) inner join known_graph_nodes as t using ({_KEY})
                where graph_kind = 'transport' and s.node = e.source and t.node = e.target and s.position <> t.position""",
            ),
        ),
    ),
    Table(
        "graph_supernodes",
        "a proposed group of nodes of a graph: features at one position that write nearly the same direction",
        (
            *GRAPH,
            Column("supernode", int32, "number of the group in its graph", minimum=0),
            Column("name", string, "what it is called, as in the graph's file: its most influential feature and the token"),
            Column("position", int32, "of its nodes", minimum=0),
            Column("nodes", pa.list_(int32), "its nodes, the most influential first"),
            Column("node_ids", pa.list_(string), "their names in the graph's file", as_long_as="nodes"),
            Column("cosine", float64, "the smallest cosine of any two of their decoder rows", minimum=-1, maximum=1),
        ),
        (*KEY, "supernode"),
        ("collection",),
        rules=(
            Rule(
                "a supernode has two nodes or more, all of them features of its position, each in one supernode",
                "nodes",
                f"""with members as (
                    select {_KEY}, supernode, position as at, unnest(nodes) as node, unnest(node_ids) as node_id, len(nodes) as n
                    from graph_supernodes
                )
                select {_KEY}, m.supernode, m.node from members as m
                left join known_graph_nodes as g using ({_KEY}, node)
                where m.n < 2 or g.kind is distinct from 'feature' or g.position <> m.at or g.node_id <> m.node_id
                union all
                select {_KEY}, min(supernode), node from members group by {_KEY}, node having count(*) > 1""",
            ),
        ),
    ),
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
                    select {_KEY}, source, target, sum(contribution) as added, sum(abs(contribution)) as size,
                        min(direct) as direct, max(direct) as largest
                    from graph_heads group by all
                )
                select {_KEY}, source, target, e.weight, added, direct from added
                left join known_graph_edges as e using ({_KEY}, source, target)
                left join (select {_KEY}, {_TOLERANCE} as tolerance from known_graphs) using ({_KEY})
                where e.weight is null or direct <> largest
                    or abs(added + direct - e.weight) > tolerance * greatest(abs(e.weight), size + abs(direct))""",
            ),
            Rule(
                "the parts of a traced score sum to it",
                "score",
                f"""with parts as (
                    select {_KEY}, layer, head, query_position, key_position, sum(weight) as added, sum(abs(weight)) as size
                    from known_graph_qk group by all
                )
                select {_KEY}, h.layer, h.head, h.key_position, h.score, p.added, h.rest from graph_heads as h
                inner join known_graph_nodes as t using ({_KEY})
                left join parts as p using ({_KEY})
                left join (select {_KEY}, {_TOLERANCE} as tolerance from known_graphs) using ({_KEY})
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
            Column("key_position", int32, "position that was looked at", minimum=0),
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
                f"""select distinct {_KEY}, layer, head, query_position, key_position from graph_qk as q
                anti join known_graph_heads as h on {" and ".join(f"h.{c} = q.{c}" for c in KEY)} and h.layer = q.layer
                    and h.head = q.head and h.key_position = q.key_position and h.score is not null""",
            ),
        ),
    ),
    Table(
        "graph_motifs",
        "an edge between two features that recurs over the prompts of a set",
        (
            COLLECTION,
            SET,
            GRAPH[-1],
            *PAIR,
            Column("source_sae", string, "key of the SAE at the source layer"),
            Column("source_feature", int32, "feature that acts", minimum=0),
            Column("target_sae", string, "key of the SAE at the target layer"),
            Column("target_feature", int32, "feature that is acted on", minimum=0),
            Column("same_position", boolean, "true: at one position; false: from any earlier one"),
            Column("n_graphs", int64, "prompts whose pruned graph has the edge", minimum=1),
            Column("n_prompts", int64, "prompts of the set", minimum=1),
            Column("n_edges", int64, "edges, of which a prompt may have several", minimum=1),
            Column("weight", float64, "mean weight of these edges"),
            Column("positive_share", float64, "share of these edges with a positive weight", minimum=0, maximum=1),
            share("transport_share", "share of their compared absolute effect that is transport"),
        ),
        ("collection", "graph_set", "graph_kind", "source_layer", "source_feature", "target_layer", "target_feature", "same_position"),
        ("collection",),
        rules=(
            Rule(
                "an edge has at most all prompts, and at least one edge in each",
                "n_graphs, n_prompts, n_edges",
                "select collection, graph_set, source_feature, target_feature, n_graphs, n_prompts, n_edges from graph_motifs "
                "where n_graphs > n_prompts or n_graphs > n_edges",
            ),
        ),
    ),
)
# fmt: on
