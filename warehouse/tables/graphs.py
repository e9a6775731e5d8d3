"""Tables: graphs of prompts, their nodes and edges, and edges that recur over prompts."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    Column,
    Rule,
    Table,
    boolean,
    float64,
    int32,
    int64,
    score,
    string,
)

GRAPH = Column("graph", string, "key of the graphs of a prompt: prompt, SAEs, operators and settings")
KIND = Column("kind", string, "attribution (by the model's gradients) or transport (by operators)")
SIZE = "greatest(t.size, abs(t.total))"


def share(name: str, meaning: str, *, nullable: bool = True) -> Column:
    """A number between 0 and 1."""
    return Column(name, float64, meaning, nullable=nullable, minimum=0, maximum=1)


# fmt: off
TABLES = (
    Table(
        "graphs",
        "one graph of a prompt, with its checks",
        (
            COLLECTION,
            GRAPH,
            KIND,
            Column("prompt", string, "text of the prompt"),
            Column("origin", string, "file that the prompt was read from; NULL of the settings", nullable=True),
            Column("token_ids", pa.list_(int64), "tokens of the prompt, BOS included"),
            Column("tokens", pa.list_(string), "their texts", as_long_as="token_ids"),
            Column("targets", pa.list_(string), "texts of the explained tokens, or their difference; empty for transport"),
            Column("dictionary", string, "sae, or transcoder"),
            Column("layers", pa.list_(int32), "layers whose SAEs or transcoders are read"),
            Column("saes", pa.list_(string), "their keys", as_long_as="layers"),
            Column("operators", pa.list_(string), "keys of the operators; empty without any"),
            Column("precision", string, "of the computation: float32 or float64"),
            Column("max_features", int32, "features with edges at most; NULL of transport, which has all", nullable=True, minimum=1),
            share("node_threshold", "share of influence that the kept nodes have", nullable=False),
            share("edge_threshold", "share of the edges' scores that the kept edges have", nullable=False),
            Column("n_nodes", int64, "nodes that are kept", minimum=0),
            Column("n_edges", int64, "edges that are kept", minimum=0),
            Column("n_features", int64, "features among the kept nodes", minimum=0),
            Column("n_nodes_whole", int64, "nodes before pruning", minimum=0),
            Column("n_edges_whole", int64, "edges before pruning", minimum=0),
            Column("n_features_whole", int64, "features with edges before pruning", minimum=0),
            share("replacement", "influence of tokens and unexplained features over that of these and of errors; NULL if nothing reaches them"),
            share("completeness", "share of incoming edges that is not from errors, averaged by influence; NULL as replacement"),
            Column("conservation", float64, "largest residual of a node, relative to the sum of its edges' magnitudes", minimum=0),
            Column("repeat_difference", float64, "largest difference of an edge in a second computation in batches of another size, relative to the largest edge; NULL: not repeated", nullable=True, minimum=0),
            Column("n_ablated", int64, "edges that an ablation was compared with", minimum=0),
            *score("pearson", "correlation of these edges with what ablating their sources changes in the real model"),
            *score("spearman", "the same, of ranks"),
            *score("pearson_random", "correlation of weights of other random edges into the same targets with what was ablated: the control"),
            Column("frozen_gap", float64, "largest difference of an edge from its ablation in the frozen model, relative to the largest edge", nullable=True, minimum=0),
            Column("n_compared", int64, "edges between features of layers that an operator joins; 0 without a transport graph", minimum=0),
            Column("n_same_position", int64, "those within one position", minimum=0),
            share("transport_share", "share of the compared absolute effect that is transport; NULL where none was compared"),
            share("same_position_share", "share of the compared absolute effect within one position: the most that transport can be"),
            Column("path", string, "folder of its files, relative to the warehouse"),
        ),
        ("collection", "graph", "kind"),
        ("collection",),
    ),
    Table(
        "graph_nodes",
        "one node of a graph",
        (
            COLLECTION,
            GRAPH,
            KIND,
            Column("node", int32, "number of the node in the graph", minimum=0),
            Column("node_id", string, "its name in the graph's file"),
            Column("node_kind", string, "feature, error, token, constant, logit or transport_error"),
            Column("layer", int32, "layer of the SAE, of the target of a transport error; the number of layers for logits; NULL of tokens and constants", nullable=True, minimum=0),
            Column("position", int32, "position in the prompt", unit="tokens", minimum=0),
            Column("token", string, "text of the token there, BOS included; of a logit the token that follows"),
            Column("sae", string, "key of the SAE or transcoder of a feature", nullable=True),
            Column("feature_id", int32, "index of the feature; token id of a logit; NULL of others", nullable=True, minimum=0),
            Column("activation", float64, "of a feature; probability of a logit; NULL of others", nullable=True),
            share("influence", "cumulative share of influence at the node's rank: small is important"),
            Column("total", float64, "pre-activation, or logit less the mean logit, that all incoming edges sum to; NULL of leaves", nullable=True),
            Column("edge_sum", float64, "sum of all incoming edges, before pruning; NULL of leaves", nullable=True),
            Column("cut", float64, "sum of those that were pruned; NULL of leaves", nullable=True),
            Column("size", float64, "sum of the magnitudes of all incoming edges, before pruning; NULL of leaves", nullable=True, minimum=0),
            Column("residual", float64, "|edge_sum - total| / max(size, |total|); NULL of leaves", nullable=True, minimum=0),
            Column("label", string, "what the feature promotes or means; NULL where nothing is known", nullable=True),
        ),
        ("collection", "graph", "kind", "node"),
        ("collection",),
        rules=(
            Rule(
                "conservation: all incoming edges sum to the node's value",
                "residual",
                f"""select t.collection, t.graph, t.kind, t.node, t.residual from graph_nodes as t
                inner join known_graphs as g using (collection, graph, kind)
                where abs(t.edge_sum - t.total) > (case g.precision when 'float64' then 1e-9 else 1e-4 end) * {SIZE}""",
            ),
            Rule(
                "nodes are 0, 1, 2 ... of each graph",
                "node",
                """select collection, graph, kind, node from graph_nodes
                qualify node <> row_number() over (partition by collection, graph, kind order by node) - 1""",
            ),
        ),
    ),
    Table(
        "graph_edges",
        "one edge of a graph that is kept",
        (
            COLLECTION,
            GRAPH,
            KIND,
            Column("source", int32, "node that acts", minimum=0),
            Column("target", int32, "node that it acts on", minimum=0),
            Column("weight", float64, "direct effect on the target's pre-activation or logit"),
            Column("same_position", boolean, "whether both stand at one position"),
            Column("transport_weight", float64, "weight of the transport edge between the same two features, 0 between positions; NULL where no operator joins their layers", nullable=True),
            share("transport_share", "share of the weight that is transport, clip(transport_weight / weight, 0, 1); NULL as transport_weight"),
        ),
        ("collection", "graph", "kind", "source", "target"),
        ("collection",),
        rules=(
            Rule(
                "kept edges and what was cut sum to the edges before pruning",
                "weight",
                """select t.collection, t.graph, t.kind, t.node, any_value(t.edge_sum) as edge_sum
                from known_graph_nodes as t
                inner join graph_edges as e
                    on e.collection = t.collection and e.graph = t.graph and e.kind = t.kind and e.target = t.node
                group by all
                having abs(sum(e.weight) + any_value(t.cut) - any_value(t.edge_sum)) > 1e-9 * any_value(t.size)""",
            ),
        ),
    ),
    Table(
        "graph_motifs",
        "one edge between two features that recurs over prompts",
        (
            COLLECTION,
            Column("motifs", string, "key of the count: its prompts"),
            KIND,
            Column("source_layer", int32, "layer of the source", minimum=0),
            Column("source_feature", int32, "feature that acts", minimum=0),
            Column("target_layer", int32, "layer of the target", minimum=0),
            Column("target_feature", int32, "feature that it acts on", minimum=0),
            Column("same_position", boolean, "from the target's own position, or from an earlier one, wherever that is"),
            Column("n_prompts", int64, "prompts whose graph has the edge", minimum=2),
            Column("n_prompts_all", int64, "prompts that were counted over", minimum=2),
            Column("n_edges", int64, "edges, of which a prompt may have several", minimum=2),
            Column("mean_weight", float64, "mean weight of these edges"),
            share("positive_share", "share of them with a positive weight", nullable=False),
            share("transport_share", "share of the compared absolute effect that is transport; NULL where none was compared"),
        ),
        ("collection", "motifs", "kind", "source_layer", "source_feature", "target_layer", "target_feature", "same_position"),
        ("collection",),
    ),
)
