"""Settings of stage `fate`."""

from pydantic import Field, model_validator

from tasks.settings.base import Seed, StageSettings
from tasks.settings.operators import Method


class FateSettings(StageSettings):
    """Which features are ablated at the source layers, on how much text, and what counts as the same direction."""

    method: Method = Field("ridge", description="Method of the operators whose predictions are tested")
    n_features: int = Field(
        16, ge=0, description="Best features per SAE that are ablated in the running model, by the stage `features`"
    )
    n_sequences: int = Field(100, ge=1, description="Number of test sequences in which features are ablated")
    n_tokens: int = Field(
        4, ge=1, description="Active tokens of a sequence at which a feature is ablated, one at a time, at most"
    )
    same_above: float = Field(
        0.7, gt=0, le=1, description="Decoder cosine from which two features of two layers have the same direction"
    )
    other_below: float = Field(
        0.3, ge=0, lt=1, description="Decoder cosine up to which the nearest feature has another direction"
    )
    batch_size: int = Field(8, ge=1, description="Sequences per forward pass; results do not depend on it")
    seed: Seed = Field(0, description="Seed of the ablated tokens, the random directions and the random rotations")

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> "FateSettings":
        if self.other_below >= self.same_above:
            raise ValueError(
                f"other_below {self.other_below:g} must be smaller than same_above {self.same_above:g}: "
                "the defaults are 0.3 and 0.7"
            )
        return self
