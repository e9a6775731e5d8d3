"""Settings of stage `jacobians`."""

from typing import Literal

from pydantic import Field

from tasks.settings.base import Seed, StageSettings


class JacobianSettings(StageSettings):
    """Mean Jacobians of the pairs of `operators`, for its method `jacobian`: on how much text, how exactly."""

    n_tokens: int = Field(
        30_000,
        ge=1,
        description="Train tokens over which Jacobians are averaged, at most, in whole documents that are drawn at random",
    )
    probes: int | None = Field(
        16,
        ge=1,
        description="Random rows of each token's Jacobian that are measured, a backward pass each; null: all, which is exact",
    )
    positions: Literal["same", "later"] = Field(
        "same",
        description="Target positions of the Jacobian: the token's own (same), or the sum over it and all later ones (later)",
    )
    tolerance: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Relative standard error of a layer pair's Jacobian at which its measurement stops",
    )
    documents_per_part: int = Field(
        8,
        ge=1,
        description="Documents between two looks at the error of the Jacobians; a killed run repeats these at most",
    )
    lens: str | None = Field(
        None, description="File of the Jacobian lens from which Jacobians are read; default: they are measured"
    )
    seed: Seed = Field(0, description="Seed of the documents and rows of the Jacobians")
