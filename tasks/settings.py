"""The settings of each stage: what a stage's key is made from, what forms show and profiles fill in."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class StageSettings(BaseModel):
    """Base of all settings: unknown names are refused, values cannot be changed after validation.

    Defaults are validated too: 1 and 1.0 would give two keys for one setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ModelSettings(StageSettings):
    """Which language model, and how it is run."""

    name: str = Field("smollm2-135m", description="Embedded model name, hub id, local folder or .gguf file")
    revision: str | None = Field(None, description="Revision of a hub model")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 or mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Precision of the forward pass"
    )
    attention: Literal["sdpa", "eager"] = Field("sdpa", description="Attention implementation")
    trust_remote_code: bool = Field(False, description="Run code that a hub model ships; only for models you trust")


Site = Literal["resid_post", "mlp_out", "attn_out", "attn_z"]


class CollectSettings(StageSettings):
    """Which text, how it is cut, which tokens and layers are kept."""

    corpus: str = Field("sotu", description="sotu, a .txt/.jsonl/.parquet file, a folder, or hub:dataset:config:split")
    text_field: str = Field("text", description="Field of the text in jsonl, Parquet and hub corpora")
    n_tokens: int = Field(220_000, ge=1, description="Tokens to run through the model")
    seq_len: int = Field(128, ge=2, description="Longest sequence, in tokens")
    min_len: int = Field(16, ge=2, description="Shorter sequences are left out")
    max_sequences_per_document: int | None = Field(
        7, ge=1, description="Windows taken from one document, evenly spaced"
    )
    layers: list[int] | None = Field(None, description="Layers to read; default: those that pairs and SAEs need")
    site: Site = Field("resid_post", description="Where in each block residuals are read")
    attention_layers: list[int] = Field(
        [], description="Blocks whose attention is kept for the position policy attended; needs model.attention=eager"
    )
    attention_top_k: int = Field(4, ge=1, description="Attended positions kept for each token")
    n_folds: int = Field(5, ge=2, description="Cross-validation folds inside the train split")
    split_seed: int = Field(0, description="Salt of the document hash that assigns splits and folds")
    skip_special: bool = Field(True, description="Leave special tokens out of statistics")
    skip_first: bool = Field(True, description="Leave position 0 out of statistics: it is a massive-activation sink")
    max_norm_multiple: float | None = Field(
        10.0, gt=1, description="Leave out tokens above this multiple of a layer's median norm"
    )
    prepend_bos: bool = Field(False, description="Put the BOS token before each sequence")
    store_activations: bool = Field(
        True, description="Write the activations table; false re-runs the model for each later stage"
    )
    batch_size: int = Field(16, ge=1, description="Sequences in one forward pass")
    shard_sequences: int = Field(64, ge=1, description="Sequences in one shard, the unit of writing and resumption")


class SAESettings(StageSettings):
    """Which sparse autoencoders: trained here, or loaded from a folder or file."""

    layers: list[int] = Field([12, 16, 20], description="Layers to train an SAE for")
    paths: dict[int, str] = Field(
        {}, description="Layer -> folder (sae-lens) or params.npz (Gemma Scope) to load instead"
    )
    releases: dict[int, str] = Field(
        {}, description="Layer -> RELEASE:SAE_ID of sae-lens' directory of pretrained SAEs, downloaded once"
    )
    architecture: Literal["topk", "jumprelu"] = Field("topk", description="Activation function of the features")
    d_sae: int = Field(2048, ge=1, description="Number of features")
    k: int = Field(32, ge=1, description="Active features per token (TopK), target L0 (JumpReLU)")
    n_tokens: int = Field(600_000, ge=1, description="Training tokens, repeats included")
    batch_size: int = Field(1024, ge=1, description="Tokens in one training step")
    lr: float = Field(3e-3, gt=0, description="Learning rate")
    buffer_rows: int = Field(131_072, ge=1, description="Rows of the shuffle buffer")
    seed: int = Field(0, description="Of the first weights and the order of tokens")
    judge_sequences: int = Field(24, ge=1, description="Test sequences for the spliced loss")
    max_fvu: float = Field(0.5, description="An SAE above this is not trusted")
    min_ce_recovered: float = Field(0.5, description="An SAE below this is not trusted")
    max_dead_share: float = Field(0.5, description="An SAE above this is not trusted")


Method = Literal[
    "ridge",
    "linear",
    "lasso",
    "elasticnet",
    "ridge_to_identity",
    "rrr",
    "rrr_features",
    "svd",
    "identity",
    "identity+bias",
    "permuted",
    "mean",
]
PositionPolicy = Annotated[str, Field(pattern=r"^(same|previous|offset:[1-9]\d*|(attended|shuffled)(:[1-9]\d*)?)$")]


class OperatorSettings(StageSettings):
    """Which pairs of layers, which maps, how chosen."""

    source_layers: list[int] = Field([8, 10, 12, 14, 16], min_length=1, description="Layers that operators begin at")
    leaps: list[Annotated[int, Field(ge=1)]] = Field(
        [2, 4, 6, 8], min_length=1, description="Layers between the source and the target of an operator"
    )
    target_layers: list[int] | None = Field(None, description="Keep only the pairs that end here; default: all")
    position_policy: PositionPolicy = Field(
        "same",
        description="same, previous, offset:m, attended[:k] (by attention, weighted) or its control shuffled[:k]",
    )
    methods: list[Method] = Field(
        ["ridge", "linear", "rrr", "identity", "mean"],
        min_length=1,
        description="Maps fitted for each pair, and baselines",
    )
    alphas: list[Annotated[float, Field(gt=0)]] = Field(
        [1e-1, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
        min_length=1,
        description="Strengths tried, on the sum of squares",
    )
    l1_alphas: list[Annotated[float, Field(gt=0)]] = Field(
        [0.01, 0.1, 1, 10, 100], min_length=1, description="Strengths of lasso and elasticnet, on scikit-learn's scale"
    )
    l1_ratios: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.1, 0.3, 0.5, 0.7, 0.9], min_length=1, description="Shares of the L1 penalty tried by elasticnet"
    )
    rank: int = Field(64, ge=1, description="Rank of the rrr and svd operators")
    output_weight: Literal["whitened", "raw"] = Field("whitened", description="Metric of reduced-rank regression")
    train_fractions: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.1, 0.25, 0.5, 0.75, 1.0], description="Shares of the train documents of the scaling study; empty: none"
    )
    permutation_null: bool = Field(
        True, description="Also keep moments with the documents of y shuffled: the chance level of every ceiling"
    )
    register_operators: bool = Field(True, description="Register fitted operators in MLflow")

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(source layer, target layer) of every operator."""
        ends = [
            (source, source + leap) for source in sorted(set(self.source_layers)) for leap in sorted(set(self.leaps))
        ]
        return [pair for pair in ends if self.target_layers is None or pair[1] in self.target_layers]

    @property
    def layers(self) -> set[int]:
        """Layers that the pairs begin or end at."""
        return {layer for pair in self.pairs for layer in pair}

    @model_validator(mode="after")
    def _some_pair(self) -> "OperatorSettings":
        if not self.pairs:
            raise ValueError(f"no source layer and leap end at target_layers {self.target_layers}")
        return self


class EvaluateSettings(StageSettings):
    """How operators are judged on held-out tokens."""

    ranks: list[Annotated[int, Field(ge=1)]] = Field(
        [1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512, 576],
        description="Ranks of the efficiency curve; larger than d are cut",
    )
    n_bootstrap: int = Field(1000, ge=100, description="Bootstrap resamples of the test documents")
    bootstrap_seed: int = Field(0, description="Of the resamples")
    min_active: int = Field(30, ge=2, description="Fewer active tokens: scores are NULL")
    transported_above: float = Field(
        0.7, description="Verdict transported: lower end of the interval of r2 at or above"
    )
    synthesised_below: float = Field(
        0.3, description="Verdict synthesised: upper end of the interval of r2 at or below"
    )

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> "EvaluateSettings":
        if self.synthesised_below >= self.transported_above:
            raise ValueError("synthesised_below must be smaller than transported_above")
        return self


class FeatureSettings(StageSettings):
    """How the features of an SAE are scored, and which are selected and shown."""

    score: bool = Field(True, description="Score, select and illustrate features; false: activation statistics only")
    n_tokens: int = Field(120_000, ge=1, description="Train tokens looked at")
    top_positions: int = Field(100, ge=2, description="Top-activating positions whose token ids give the entropy")
    candidate_percent: float = Field(
        15.0, gt=0, le=100, description="Share of features, by pre-score, that are ablated"
    )
    top_percent: float = Field(5.0, gt=0, le=100, description="Share of features, by score, that are selected")
    ablation_sequences: int = Field(4, ge=1, description="Validation sequences a candidate is ablated on")
    ablation_tokens: int = Field(64, ge=2, description="Tokens of such a sequence, around its strongest activation")
    n_lens_tokens: int = Field(10, ge=1, description="Tokens of the logit lens, at each end")
    n_examples: int = Field(10, ge=1, description="Top examples of a selected feature")
    n_random: int = Field(5, ge=0, description="Random examples")
    n_quantiles: int = Field(4, ge=0, description="Activation quantiles, one example each")
    context_before: int = Field(20, ge=0, description="Tokens of an example before its strongest one")
    context_after: int = Field(10, ge=0, description="Tokens of an example after it")
    seed: int = Field(0, description="Of the random examples")


class ExplainSettings(StageSettings):
    """Where explanations of features come from, and when they are believed."""

    ids: dict[int, str] = Field(
        {}, description="Layer -> model/source on Neuronpedia, for SAEs that do not bring their own id"
    )
    mode: Literal["bulk", "api"] = Field(
        "bulk", description="The public dataset's files, or the API feature by feature"
    )
    api_url: str = Field("https://www.neuronpedia.org", description="The API; its key is read from NEURONPEDIA_API_KEY")
    bulk_url: str = Field("https://neuronpedia-datasets.s3.us-east-1.amazonaws.com", description="The public dataset")
    all_features: bool = Field(False, description="All features instead of the selected ones")
    min_alignment: float = Field(
        0.5, ge=0, le=1, description="Share of published top tokens our logit lens must have for a label to be believed"
    )
    timeout: float = Field(20.0, gt=0, description="Seconds to wait for an answer")
    max_attempts: int = Field(6, ge=1, description="Tries of one request, with growing pauses")


PositionSet = Annotated[str, Field(pattern=r"^(all|\d+(,\d+)*)$")]
Intervention = Literal["transport", "bias", "mean", "zero", "identity", "random_rotation"]


class CausalSettings(StageSettings):
    """Which residuals are put back into the running model, where, and on how much text."""

    pairs: list[tuple[int, int]] | None = Field(
        None, description="(source layer, target layer) pairs; default: all pairs that end at an SAE's layer"
    )
    method: Method = Field("ridge", description="Operator that is put to the test")
    n_sequences: int = Field(100, ge=1, description="Full-length test sequences")
    positions: list[PositionSet] = Field(
        ["10,50,70,100,120", "11,51,71,101,121", "12,52,72,102,122", "10", "50", "100", "all"],
        min_length=1,
        description="Sets of edited positions: the study's three, single ones, all",
    )
    interventions: list[Intervention] = Field(
        ["transport", "bias", "mean", "zero", "identity", "random_rotation"],
        min_length=1,
        description="What takes the place of a residual: the transported one, and controls",
    )
    n_features: int = Field(4, ge=0, description="Best features of each target SAE that are also edited one by one")
    batch_size: int = Field(8, ge=1, description="Sequences in one forward pass")
    seed: int = Field(0, description="Of the random rotation")


class ReportSettings(StageSettings):
    """What the report shows."""

    png: bool = Field(True, description="Also write each figure as a PNG file")
    n_example_features: int = Field(12, ge=0, description="Features whose examples are shown")


class FanOutSettings(StageSettings):
    """Where the parts of a stage's work run; no result depends on it, and no key."""

    scheduler: str = Field(
        "", description="A Dask scheduler such as tcp://host:8786; local starts workers here; empty: this process"
    )
    workers: int = Field(2, ge=1, description="Worker processes that scheduler=local starts; they share the cores")
