"""Settings of stage `graphs`."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.settings.base import Distinct, LayerNumber, OneOf, Seed, StageSettings

KINDS = ("attribution", "transport")
GraphKind = Annotated[str, OneOf(KINDS)]


class PromptSettings(StageSettings):
    """A prompt, and the tokens whose logits its graph explains."""

    text: str = Field(description="The prompt; a BOS token is put before it where the collection has one")
    targets: Annotated[list[str], Distinct] = Field(
        [], description="Tokens whose logits are explained, as text with its space; default: the likely ones"
    )
    against: str | None = Field(
        None, description="A token whose logit is subtracted from that of the only target, which makes one difference"
    )


class GraphSettings(StageSettings):
    """Which prompts have graphs, between which features, and how far these are cut down and checked."""

    prompts: list[PromptSettings] = Field(
        [PromptSettings(text="The capital of France is")], description="Prompts that a graph is made of, one each"
    )
    prompts_from: str | None = Field(
        None,
        description="A folder of .txt files, or one file, with further prompts; the last token of each is its target",
    )
    target_probability: float = Field(
        0.95, gt=0, le=1, description="Total probability of the target tokens of a prompt that names none"
    )
    max_targets: int = Field(10, ge=1, description="Target tokens of a prompt that names none, at most")
    kinds: Annotated[list[GraphKind], Distinct] = Field(
        ["attribution", "transport"],
        min_length=1,
        description="Graphs of a prompt: attribution (the model's gradients), transport (operators), or both, compared",
    )
    layers: Annotated[list[LayerNumber], Distinct] | None = Field(
        None,
        description="Layers whose SAEs or transcoders are read; default: all of stage `saes`, or of `transcoders`, which then "
        "must leave out no layer between the first and the last",
    )
    transcoders: Annotated[list[str], Distinct] = Field(
        [],
        description="Keys of transcoders of a study (`studied_saes.sae`), one per layer, whose attribution graph is made instead",
    )
    adapter: Literal["base_path", "features_only"] | None = Field(
        None,
        description="The model is the checkpoint of a transcoder adapter, whose features are the nodes: with edges through the "
        "base model's MLPs (base_path), or between features alone, what those MLPs give being error (features_only)",
    )
    max_features: int = Field(
        300, ge=1, description="Features of an attribution graph whose edges are computed, the most influential first"
    )
    batch_size: int = Field(
        32, ge=1, description="Targets of a graph in one backward pass; the graph does not depend on it"
    )
    precision: Literal["float32", "float64", "bfloat16"] = Field(
        "float32",
        description="Precision of the model and the SAEs in graphs; in bfloat16 none can be repeated, nor its sums checked: rows say so",
    )
    node_threshold: float = Field(
        0.8, gt=0, le=1, description="Share of all influence that the nodes of a pruned graph keep"
    )
    edge_threshold: float = Field(
        0.98, gt=0, le=1, description="Share of the edges' scores that the edges of a pruned graph keep"
    )
    repeat: bool = Field(
        True,
        description="Compute each attribution graph once more, in batches of another size, and record the difference",
    )
    n_ablations: int = Field(
        48, ge=0, description="Random edges of each attribution graph that are compared with an ablation; 0: none"
    )
    seed: Seed = Field(0, description="Seed of the random edges of a graph that are ablated")
    n_traced_edges: int = Field(
        20,
        ge=0,
        description="Strongest kept edges from features of which each attention head's part is computed; 0: none",
    )
    n_traced_scores: int = Field(
        6, ge=0, description="Attention scores of the strongest heads that are traced to pairs of features; 0: none"
    )
    n_pairs: int = Field(
        20,
        ge=1,
        description="Largest pairs of features that are kept of each traced attention score; the rest is one sum",
    )
    supernode_cosine: float | None = Field(
        0.7,
        gt=0,
        le=1,
        description="Least cosine between decoder rows of features that are proposed as one node; null: none",
    )
