"""Settings of stage `saes`."""

from typing import Annotated

from pydantic import Field

from ato.saes.architectures import TRAINABLE
from tasks.settings.base import OneOf, StageSettings


class SAESettings(StageSettings):
    """Which sparse autoencoders: trained here, or loaded from a folder or file."""

    layers: list[int] = Field([12, 16, 20], description="Layers to train an SAE for")
    paths: dict[int, str] = Field(
        {}, description="Layer -> folder (sae-lens) or params.npz (Gemma Scope) to load instead"
    )
    releases: dict[int, str] = Field(
        {}, description="Layer -> RELEASE:SAE_ID of sae-lens' directory of pretrained SAEs, downloaded once"
    )
    architecture: Annotated[str, OneOf(tuple(TRAINABLE))] = Field(
        "topk", description="Architecture: how features become active"
    )
    d_sae: int = Field(2048, ge=1, description="Number of features")
    k: int = Field(32, ge=1, description="Active features per token, exactly or on average")
    n_tokens: int = Field(600_000, ge=1, description="Training tokens, repeats included")
    batch_size: int = Field(1024, ge=1, description="Tokens in one training step")
    lr: float = Field(3e-3, gt=0, description="Learning rate")
    buffer_rows: int = Field(131_072, ge=1, description="Rows of the shuffle buffer")
    seed: int = Field(0, description="Of the first weights and the order of tokens")
    judge_sequences: int = Field(24, ge=1, description="Test sequences for the spliced loss")
    max_fvu: float = Field(0.5, description="An SAE above this is not trusted")
    min_ce_recovered: float = Field(0.5, description="An SAE below this is not trusted")
    max_dead_share: float = Field(0.5, description="An SAE above this is not trusted")
