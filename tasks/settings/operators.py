"""Settings of stage `operators`."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ato.operators.methods import DEFAULT_METHODS, METHODS
from ato.residuals.position_policies import POLICY_PATTERN
from tasks.settings.base import Distinct, LayerNumber, OneOf, StageSettings

Method = Annotated[str, OneOf(tuple(METHODS))]
PositionPolicy = Annotated[str, Field(pattern=POLICY_PATTERN)]


class OperatorSettings(StageSettings):
    """Transport operators: layer pairs, methods and regularisation."""

    source_layers: Annotated[list[LayerNumber], Distinct] = Field(
        [8, 10, 12, 14, 16], min_length=1, description="Source layers of the operators"
    )
    leaps: Annotated[list[Annotated[int, Field(ge=1)]], Distinct] = Field(
        [2, 4, 6, 8], min_length=1, description="Distances from source to target layer, in layers"
    )
    target_layers: Annotated[list[LayerNumber], Distinct] | None = Field(
        None, description="Keep only pairs that end at these layers; default: all pairs"
    )
    position_policy: PositionPolicy = Field(
        "same",
        description="Source position: same, previous, offset:m, attended[:k] or its control shuffled[:k]",
    )
    methods: Annotated[list[Method], Distinct] = Field(
        list(DEFAULT_METHODS),
        min_length=1,
        description="Methods to fit for each pair, baselines included",
    )
    alphas: Annotated[list[Annotated[float, Field(gt=0)]], Distinct] = Field(
        [1e-1, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
        min_length=1,
        description="Ridge penalties (alpha) to try, on the sum of squares",
    )
    l1_alphas: Annotated[list[Annotated[float, Field(gt=0)]], Distinct] = Field(
        [0.01, 0.1, 1, 10, 100],
        min_length=1,
        description="Penalties (alpha) of lasso and elasticnet to try, on scikit-learn's scale",
    )
    l1_ratios: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Distinct] = Field(
        [0.1, 0.3, 0.5, 0.7, 0.9], min_length=1, description="Shares of the L1 penalty that elasticnet tries"
    )
    rank: int = Field(64, ge=1, description="Rank of the rrr and svd operators")
    output_weight: Literal["whitened", "raw"] = Field(
        "whitened", description="Output metric of reduced-rank regression"
    )
    train_fractions: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Distinct] = Field(
        [0.1, 0.25, 0.5, 0.75, 1.0],
        description="Shares of the train documents in the scaling study; empty: no scaling study",
    )
    permutation_null: bool = Field(
        True, description="Collect moments with the documents of y shuffled: the permutation null of every ceiling"
    )
    register_operators: bool = Field(True, description="Register fitted operators in MLflow")

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(source layer, target layer) of every operator."""
        ends = [
            (source, source + leap) for source in sorted(set(self.source_layers)) for leap in sorted(set(self.leaps))
        ]
        return [pair for pair in ends if self.target_layers is None or pair[1] in self.target_layers]

    @property
    def layers(self) -> set[int]:
        """Layers that the pairs begin or end at."""
        return {layer for pair in self.pairs for layer in pair}

    @property
    def for_features(self) -> bool:
        """Whether a method is fitted for the selected features of SAEs."""
        return any(METHODS[method].for_features for method in self.methods)

    @property
    def measured(self) -> bool:
        """Whether a method is measured in the running model."""
        return any(METHODS[method].measured for method in self.methods)

    @property
    def permuted(self) -> bool:
        """Whether moments of pairs with shuffled documents are needed."""
        return self.permutation_null or any(METHODS[method].permuted for method in self.methods)

    def options(self, method: str) -> dict[str, Any]:
        """What ``fit_operator`` is given of these settings for a method: the parameters that the method has."""
        kind = METHODS[method]
        given = {
            "alphas": self.l1_alphas if kind.penalised == "mean" else self.alphas,
            "l1_ratios": self.l1_ratios,
            "rank": self.rank,
            "output_weight": self.output_weight,
        }
        return {name: value for name, value in given.items() if name in kind.parameters}

    @model_validator(mode="after")
    def _some_pair(self) -> "OperatorSettings":
        if not self.pairs:
            ends = sorted({source + leap for source in self.source_layers for leap in self.leaps})
            raise ValueError(
                f"no source layer plus leap ends at target_layers {self.target_layers}: they end at {ends}"
            )
        return self
