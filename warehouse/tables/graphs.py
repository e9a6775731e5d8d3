"""Tables: attribution and transport graphs of prompts, and what several of them share."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    PAIR,
    Column,
    Rule,
    Table,
    boolean,
    count,
    float64,
    int32,
    int64,
    share,
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
KEY_LIST = ", ".join(KEY)
TOLERANCE = "case precision when 'float64' then 1e-9 when 'float32' then 1e-4 else 'infinity'::double end"


def correlation(name: str, meaning: str) -> tuple[Column, ...]:
    """A correlation over sampled edges with its 95 % interval; NULL where none were ablated."""
    ends = (("", ""), ("_low", "lower end of the 95 % interval of: "), ("_high", "upper end of the 95 % interval of: "))
    return tuple(
        Column(f"{name}{end}", float64, f"{what}{meaning}", nullable=True, minimum=-1, maximum=1) for end, what in ends
    )


def of_a_graph(table: str) -> Rule:
    """Every row belongs to a graph."""
    return Rule(
        "graph is in graphs", KEY_LIST, f"select distinct {KEY_LIST} from {table} anti join known_graphs using ({KEY_LIST})"
    )


def one_of(table: str, column: str, *values: str) -> Rule:
    """A column with few values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return Rule(
        f"{column} is {', '.join(values[:-1])} or {values[-1]}",
        column,
        f"select distinct {KEY_LIST}, {column} from {table} where {column} not in ({listed})",
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
                f"select {KEY_LIST}, precision, conservation_residual from graphs where conservation_residual > {TOLERANCE}",
            ),
            Rule(
                "n_nodes and n_edges are the rows of graph_nodes and graph_edges",
                "n_nodes, n_edges",
                f"""with n as (select {KEY_LIST}, count(*) as n from known_graph_nodes group by {KEY_LIST}),
                m as (select {KEY_LIST}, count(*) as m from known_graph_edges group by {KEY_LIST})
                select {KEY_LIST}, n_nodes, n, n_edges, m from graphs left join n using ({KEY_LIST}) left join m using ({KEY_LIST})
                where n_nodes <> coalesce(n, 0) or n_edges <> coalesce(m, 0)""",
            ),
            Rule(
                "no more nodes and edges are kept than there are",
                "n_nodes, n_edges",
                f"select {KEY_LIST}, n_nodes, n_nodes_whole, n_edges, n_edges_whole from graphs "
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
                f"select {KEY_LIST}, node, kind, feature_id, activation from graph_nodes "
                "where (kind = 'feature') <> (feature_id is not null) or (kind = 'feature' and activation is null)",
            ),
            Rule(
                "edges of a whole graph sum to the totals of their targets",
                "total",
                f"""with whole as (
                    select {KEY_LIST}, {TOLERANCE} as tolerance from known_graphs where n_edges = n_edges_whole
                ),
                added as (
                    select {KEY_LIST}, target as node, sum(weight) as added, sum(abs(weight)) as size
                    from known_graph_edges semi join whole using ({KEY_LIST}) group by all
                )
                select {KEY_LIST}, node, total, added
                from graph_nodes inner join whole using ({KEY_LIST}) left join added using ({KEY_LIST}, node)
                where total is not null
                    and abs(coalesce(added, 0) - total) > tolerance * greatest(abs(total), coalesce(size, 0))""",
            ),
            Rule(
                "kept edges and what was pruned sum to the totals of their targets",
                "total",
                f"""with added as (select {KEY_LIST}, target as node, sum(weight) as added from known_graph_edges group by all)
                select {KEY_LIST}, node, total, coalesce(added, 0) + pruned_weight as added
                from graph_nodes inner join (select {KEY_LIST}, {TOLERANCE} as tolerance from known_graphs) using ({KEY_LIST})
                left join added using ({KEY_LIST}, node)
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
                f"""select {KEY_LIST}, source, target from graph_edges as e
                anti join known_graph_nodes as n on {" and ".join(f"n.{c} = e.{c}" for c in KEY)} and n.node = e.source
                union all
                select {KEY_LIST}, source, target from graph_edges as e
                anti join known_graph_nodes as n on {" and ".join(f"n.{c} = e.{c}" for c in KEY)} and n.node = e.target""",
            ),
            Rule(
                "no node acts on itself",
                "source, target",
                f"select {KEY_LIST}, source, target from graph_edges where source = target",
            ),
            Rule(
                "transport stays at its position",
                "source, target",
                f"""select {KEY_LIST}, e.source, e.target from graph_edges as e
                inner join known_graph_nodes as s using ({KEY_LIST}) inner join known_graph_nodes as t using ({KEY_LIST})
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
                    select {KEY_LIST}, supernode, position as at, unnest(nodes) as node, unnest(node_ids) as node_id, len(nodes) as n
                    from graph_supernodes
                )
                select {KEY_LIST}, m.supernode, m.node from members as m
                left join known_graph_nodes as g using ({KEY_LIST}, node)
                where m.n < 2 or g.kind is distinct from 'feature' or g.position <> m.at or g.node_id <> m.node_id
                union all
                select {KEY_LIST}, min(supernode), node from members group by {KEY_LIST}, node having count(*) > 1""",
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
