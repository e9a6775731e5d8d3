"""Settings of stage `saes`."""

from typing import Annotated

from pydantic import Field

from ato.saes.training.methods import TRAINABLE
from tasks.settings.base import Distinct, LayerNumber, OneOf, Seed, StageSettings


class SAESettings(StageSettings):
    """Sparse autoencoders: trained here, or loaded from files."""

    layers: Annotated[list[LayerNumber], Distinct] = Field([12, 16, 20], description="Layers to train an SAE for")
    paths: dict[LayerNumber, str] = Field(
        {}, description="Layer -> folder or file to load instead of training; docs/sae-files.md lists the formats"
    )
    releases: dict[LayerNumber, str] = Field(
        {}, description="Layer -> RELEASE:SAE_ID in the sae-lens directory of pretrained SAEs, downloaded once"
    )
    architecture: Annotated[str, OneOf(tuple(TRAINABLE))] = Field("topk", description="Architecture of the SAEs")
    d_sae: int = Field(2048, ge=1, description="Number of features of each SAE")
    k: int = Field(32, ge=1, description="Number of active features per token: exact (TopK) or on average (others)")
    n_tokens: int = Field(600_000, ge=1, description="Number of tokens that each SAE is trained on, repeats included")
    batch_size: int = Field(1024, ge=1, description="Number of tokens per training step of an SAE")
    lr: float = Field(3e-3, gt=0, description="Peak learning rate of SAE training (Adam)")
    buffer_rows: int = Field(131_072, ge=1, description="Size of the buffer that shuffles training tokens, in tokens")
    seed: Seed = Field(0, description="Seed of the initial weights and of the token order")
    judge_sequences: int = Field(24, ge=1, description="Number of test sequences for the spliced loss")
    max_fvu: float = Field(0.5, description="Maximum FVU of a trusted SAE")
    min_ce_recovered: float = Field(0.5, description="Minimum share of loss recovered by a trusted SAE")
    max_dead_share: float = Field(0.5, description="Maximum share of dead features of a trusted SAE")
