"""Settings of stage `evaluate`."""

from typing import Annotated

from pydantic import Field, model_validator

from ato.numerics.bootstrap import Bootstrap
from tasks.settings.base import StageSettings


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

    @property
    def bootstrap(self) -> Bootstrap:
        """How every interval of the study is made."""
        return Bootstrap(self.n_bootstrap, self.bootstrap_seed)

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> "EvaluateSettings":
        if self.synthesised_below >= self.transported_above:
            raise ValueError("synthesised_below must be smaller than transported_above")
        return self
