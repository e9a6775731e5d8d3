"""The settings of each stage: what a stage's key is made from, what forms show and profiles fill in."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class StageSettings(BaseModel):
    """Base of all settings: unknown names are refused, values cannot be changed after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    architecture: Literal["topk", "jumprelu"] = "topk"
    d_sae: int = Field(2048, ge=1, description="Number of features")
    k: int = Field(32, ge=1, description="Active features per token (TopK), target L0 (JumpReLU)")
    n_tokens: int = Field(600_000, ge=1, description="Training tokens, repeats included")
    batch_size: int = Field(1024, ge=1)
    lr: float = Field(3e-3, gt=0)
    buffer_rows: int = Field(131_072, ge=1, description="Rows of the shuffle buffer")
    seed: int = 0
    judge_sequences: int = Field(24, ge=1, description="Test sequences for the spliced loss")
    max_fvu: float = Field(0.5, description="An SAE above this is not trusted")
    min_ce_recovered: float = Field(0.5, description="An SAE below this is not trusted")
    max_dead_share: float = Field(0.5, description="An SAE above this is not trusted")


Method = Literal["ridge", "linear", "ridge_to_identity", "rrr", "svd", "identity", "mean"]


class OperatorSettings(StageSettings):
    """Which pairs of layers, which maps, how chosen."""

    source_layers: list[int] = Field([8, 10, 12, 14, 16], min_length=1)
    leaps: list[Annotated[int, Field(ge=1)]] = Field([2, 4, 6, 8], min_length=1)
    position_policy: Literal["same"] = "same"
    methods: list[Method] = Field(["ridge", "linear", "rrr", "identity", "mean"], min_length=1)
    alphas: list[Annotated[float, Field(gt=0)]] = Field(
        [1e-1, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
        min_length=1,
        description="Strengths tried, on the sum of squares",
    )
    rank: int = Field(64, ge=1, description="Rank of the rrr and svd operators")
    output_weight: Literal["whitened", "raw"] = Field("whitened", description="Metric of reduced-rank regression")
    register_operators: bool = Field(True, description="Register fitted operators in MLflow")

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(source layer, target layer) of every operator."""
        return [
            (source, source + leap) for source in sorted(set(self.source_layers)) for leap in sorted(set(self.leaps))
        ]


class EvaluateSettings(StageSettings):
    """How operators are judged on held-out tokens."""

    ranks: list[Annotated[int, Field(ge=1)]] = Field(
        [1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512, 576],
        description="Ranks of the efficiency curve; larger than d are cut",
    )
    n_bootstrap: int = Field(1000, ge=100, description="Bootstrap resamples of the test documents")
    bootstrap_seed: int = 0
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
