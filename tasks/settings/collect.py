"""Settings of stage `collect`."""

from typing import Annotated

from pydantic import Field

from ato.models.sites import SITES
from tasks.settings.base import Distinct, LayerNumber, OneOf, Seed, StageSettings

Path = Annotated[str, Field(min_length=1)]
FieldName = Annotated[str, Field(min_length=1)]
Site = Annotated[str, OneOf(SITES)]


class CollectSettings(StageSettings):
    """Collection of residuals: corpus, sequences, layers and excluded tokens."""

    corpus: Path | Annotated[list[Path], Field(min_length=1)] = Field(
        "sotu",
        description="Corpus: sotu, encyclopedia, a file, a folder, a pattern such as texts/**/*.md, a list of these, "
        "or hub:dataset:config:split",
    )
    text_field: str = Field(
        "text",
        min_length=1,
        description="Name of the field with the text, or with a conversation, in JSON, CSV, Parquet and hub corpora; a.b is "
        "field b within a",
    )
    one_document_per_line: bool = Field(
        False,
        description="Each line of a .txt or .md file is a document; if false, each file",
        exclude_if=lambda value: not value,  # collections made before there was this setting keep their keys
    )
    strata: Annotated[list[FieldName], Distinct] = Field(
        [],
        description="Fields of the corpus's records by which documents are grouped (topic, source, ...), named as text_field "
        "is; year:decade takes the decade of a year or date. Not part of the collection: it may change afterwards",
    )
    n_tokens: int = Field(220_000, ge=1, description="Number of tokens to run through the model")
    seq_len: int = Field(128, ge=2, description="Maximum sequence length, in tokens")
    min_len: int = Field(16, ge=2, description="Minimum sequence length, in tokens; shorter sequences are dropped")
    max_sequences_per_document: int | None = Field(
        7, ge=1, description="Maximum number of sequences per document, evenly spaced"
    )
    layers: Annotated[list[LayerNumber], Field(min_length=1)] | None = Field(
        None, description="Layers to read; default: those that layer pairs and SAEs need"
    )
    site: Site = Field("resid_post", description="Where in each block to read residuals")
    attention_layers: Annotated[list[LayerNumber], Distinct] = Field(
        [], description="Blocks whose attention is stored for the position policy attended; needs model.attention=eager"
    )
    attention_top_k: int = Field(4, ge=1, description="Number of attended positions stored per token")
    n_folds: int = Field(5, ge=2, description="Number of cross-validation folds within the train split")
    split_seed: Seed = Field(0, description="Seed of the document hash that assigns splits and folds")
    skip_special: bool = Field(True, description="Exclude special tokens from statistics")
    skip_first: bool = Field(
        True, description="Exclude position 0 from statistics (attention sink with massive activations)"
    )
    max_norm_multiple: float | None = Field(
        10.0, gt=1, description="Exclude tokens whose norm exceeds this multiple of the layer's median norm"
    )
    prepend_bos: bool = Field(False, description="Prepend the BOS token to each sequence")
    store_activations: bool = Field(True, description="Store activations; if false, later stages run the model again")
    batch_size: int = Field(16, ge=1, description="Sequences per forward pass")
    shard_sequences: int = Field(64, ge=1, description="Sequences per shard, the unit of writing and resumption")
