"""Settings of stage `evaluate`."""

from typing import Annotated

from pydantic import Field, model_validator

from tasks.settings.base import Distinct, StageSettings


class EvaluateSettings(StageSettings):
    """Evaluation of operators on held-out tokens."""

    ranks: Annotated[list[Annotated[int, Field(ge=1)]], Distinct] = Field(
        [1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512, 576],
        description="Ranks of the efficiency curve; capped at the model dimension",
    )
    min_active: int = Field(
        30, ge=2, description="Minimum number of active tokens of a scored feature; scores of other features are NULL"
    )
    transported_above: float = Field(
        0.7, le=1, description="Verdict transported: lower end of the r2 interval at or above this threshold"
    )
    computed_below: float = Field(
        0.3,
        description="Verdict computed: upper end of the r2 interval at or below this threshold",
    )

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> "EvaluateSettings":
        if self.computed_below >= self.transported_above:
            raise ValueError(
                f"computed_below {self.computed_below:g} must be smaller than transported_above "
                f"{self.transported_above:g}: the defaults are 0.3 and 0.7"
            )
        return self
