"""Settings of stage `jacobians`."""

from typing import Literal

from pydantic import Field

from tasks.settings.base import Seed, StageSettings


class JacobianSettings(StageSettings):
    """Mean Jacobians of the pairs of `operators`, for its method `jacobian`: on how much text, how exactly."""

    n_tokens: int = Field(30_000, ge=1, description="Train tokens at most, in whole documents that are drawn at random")
    probes: int | None = Field(
        16, ge=1, description="Rows of each token's Jacobian, a backward pass each; null: all, which is exact"
    )
    positions: Literal["same", "later"] = Field(
        "same",
        description="Target positions that count: the token's own (same), or the sum of it and all later ones (later)",
    )
    tolerance: float = Field(
        0.05, ge=0, lt=1, description="A pair is done when the relative standard error of its Jacobian is this small"
    )
    documents_per_part: int = Field(
        8, ge=1, description="Documents between two looks at the error; what a killed run has to do again at most"
    )
    lens: str | None = Field(
        None, description="A file of the Jacobian lens that has these Jacobians; default: they are measured"
    )
    seed: Seed = Field(0, description="Seed of the documents and rows")
