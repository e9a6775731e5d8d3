"""Settings of stage `causal`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from ato.causal.intervention_names import ALL, INTERVENTIONS
from tasks.settings.base import Distinct, LayerNumber, OneOf, Seed, StageSettings
from tasks.settings.operators import Method


def _ascending(text: str) -> str:
    """One way to write a set: ``7,3`` and ``03,7`` would be measured, and averaged, as two."""
    return text if text == ALL else ",".join(map(str, sorted({int(number) for number in text.split(",")})))


PositionSet = Annotated[str, Field(pattern=r"^(all|\d+(,\d+)*)$"), AfterValidator(_ascending)]
Intervention = Annotated[str, OneOf(INTERVENTIONS)]


class CausalSettings(StageSettings):
    """Interventions on the running model: which residuals, at which positions, on how much text."""

    pairs: Annotated[list[tuple[LayerNumber, LayerNumber]], Field(min_length=1), Distinct] | None = Field(
        None, description="(source layer, target layer) pairs; default: all pairs that end at a layer with an SAE"
    )
    method: Method = Field("ridge", description="Method of the operator under test")
    n_sequences: int = Field(
        100, ge=1, description="Number of full-length test sequences that interventions are made in"
    )
    positions: Annotated[list[PositionSet], Distinct] = Field(
        ["10,50,70,100,120", "11,51,71,101,121", "12,52,72,102,122", "10", "50", "100", "all"],
        min_length=1,
        description="Sets of edited positions: comma-separated numbers, or all",
    )
    interventions: Annotated[list[Intervention], Distinct] = Field(
        list(INTERVENTIONS),
        min_length=1,
        description="Interventions: the residual is replaced by the transported one (transport) or by a control",
    )
    n_features: int = Field(
        4, ge=0, description="Number of best features per target SAE that are also edited one by one"
    )
    batch_size: int = Field(8, ge=1, description="Sequences per forward pass")
    seed: Seed = Field(0, description="Seed of the random rotation")
