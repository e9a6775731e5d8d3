"""Settings of stage `causal`."""

from typing import Annotated

from pydantic import Field

from ato.causal.intervention_names import INTERVENTIONS
from tasks.settings.base import OneOf, StageSettings
from tasks.settings.operators import Method

PositionSet = Annotated[str, Field(pattern=r"^(all|\d+(,\d+)*)$")]
Intervention = Annotated[str, OneOf(INTERVENTIONS)]


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
        list(INTERVENTIONS),
        min_length=1,
        description="What takes the place of a residual: the transported one, and controls",
    )
    n_features: int = Field(4, ge=0, description="Best features of each target SAE that are also edited one by one")
    batch_size: int = Field(8, ge=1, description="Sequences in one forward pass")
    seed: int = Field(0, description="Of the random rotation")
