"""The operator methods: one registry, from which settings, fitting, tables, charts, estimates and docs/methods.md derive.

A new method is one entry here, one solver in ``ato.operators.method_solvers`` and one test. Nothing heavy is imported:
settings and pages read the registry too.
"""

from dataclasses import dataclass
from typing import Literal

from ato.errors import SettingsError

STUDY_ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0, 2000.0, 5000.0, 10000.0)
"""The ridge strengths of the study."""
ALPHAS = (0.01, *STUDY_ALPHAS, 1e5, 1e6)
"""Default strengths of ridge, on the sum of squares: the study's, extended on both sides."""
L1_ALPHAS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Default strengths of lasso and elastic net, on the mean of squares: the study's."""
L1_RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Default shares of the L1 penalty of elastic net: the study's."""

Parameter = Literal["alphas", "l1_ratios", "rank", "output_weight", "decoder"]


@dataclass(frozen=True)
class MethodCost:
    """What a method takes of one pair beyond the decompositions of the source, which all methods share."""

    fold: int = 0
    """FLOPs in d^3 of each cross-validation fold, whatever the strengths."""
    grid_point: int = 0
    """The same of each fold and strength."""
    pair: int = 0
    """The same of the fit."""
    decompositions: int = 0
    """Symmetric eigendecompositions of the fit."""


@dataclass(frozen=True)
class OperatorMethod:
    """One way to map the residual of a source layer to that of a target layer."""

    name: str
    summary: str
    """One line, for docs and messages."""
    solver: str
    """Function of ``ato.operators.method_solvers`` that fits the map."""
    scorer: str | None = None
    """Function there that gives the held-out R2 of all strengths; None: the solver is run on every fold."""
    penalised: Literal["sum", "mean"] | None = None
    """Strengths are on the sum of squares (scikit-learn's ``Ridge``) or on their mean (``ElasticNet``); None: no choice."""
    alphas: tuple[float, ...] = ()
    """Default strengths, or the only one; none for a map without a penalty to choose."""
    l1_ratios: tuple[float, ...] = ()
    """Default shares of the L1 penalty, or the only one."""
    output_weight: str | None = None
    """Default metric of reduced-rank regression; ``features`` needs the decoder rows of an SAE's selected features."""
    parameters: tuple[Parameter, ...] = ()
    """What a caller may choose."""
    one_width: bool = False
    """Source and target must have the same width."""
    scales: bool = False
    """``ato.operators.scaling`` can fit it on shares of the data: it is ridge in one form or another."""
    permuted: bool = False
    """Fitted on pairs whose documents were shuffled."""
    measured: bool = False
    """Its matrix is not fitted: stage ``jacobians`` measures it in the running model."""
    strength_of: str | None = None
    """Method of the same pair whose chosen strength it takes."""
    baseline: bool = False
    """Nobody would deploy it: it stands beside the others in every table, and not in the registry of operators."""
    stored_as: str | None = None
    """Method that the operator names itself, where that is not this one's name."""
    colour: str | None = None
    """In all charts; None: it takes what a chart has left of the palette."""
    cost: MethodCost = MethodCost()

    @property
    def for_features(self) -> bool:
        """Whether it is optimal for the selected features of an SAE: a study fits it in a stage that reads that SAE."""
        return self.output_weight == "features"

    @property
    def fits_rows(self) -> bool:
        """Whether rows of source and target are all it needs."""
        return not (self.for_features or self.permuted or self.measured)


RIDGE_COST = MethodCost(fold=6)
L1_COST = MethodCost(fold=6, grid_point=100)
REDUCED_RANK_COST = MethodCost(fold=6, pair=10, decompositions=1)

METHODS: dict[str, OperatorMethod] = {
    method.name: method
    for method in (
        OperatorMethod(
            "ridge",
            "least squares with a penalty on the squares of all weights",
            solver="ridge",
            scorer="ridge_r2",
            penalised="sum",
            alphas=ALPHAS,
            parameters=("alphas",),
            scales=True,
            colour="#0072B2",
            cost=RIDGE_COST,
        ),
        OperatorMethod(
            "linear",
            "least squares without a penalty (alpha 0, pseudo-inverse)",
            solver="ridge",
            scorer="ridge_r2",
            alphas=(0.0,),
            scales=True,
            colour="#56B4E9",
            cost=RIDGE_COST,
        ),
        OperatorMethod(
            "lasso",
            "least squares with a penalty on the absolute weights",
            solver="elastic_net",
            scorer="elastic_net_r2",
            penalised="mean",
            alphas=L1_ALPHAS,
            l1_ratios=(1.0,),
            parameters=("alphas",),
            cost=L1_COST,
        ),
        OperatorMethod(
            "elasticnet",
            "least squares with both penalties, shared out by `l1_ratios`",
            solver="elastic_net",
            scorer="elastic_net_r2",
            penalised="mean",
            alphas=L1_ALPHAS,
            l1_ratios=L1_RATIOS,
            parameters=("alphas", "l1_ratios"),
            cost=L1_COST,
        ),
        OperatorMethod(
            "ridge_to_identity",
            "ridge on y - x: it shrinks towards the identity, not towards zero",
            solver="ridge_to_identity",
            scorer="update_r2",
            penalised="sum",
            alphas=ALPHAS,
            parameters=("alphas",),
            one_width=True,
            scales=True,
            cost=RIDGE_COST,
        ),
        OperatorMethod(
            "rrr",
            "reduced-rank ridge regression: the best map of a rank in the metric `output_weight`",
            solver="reduced_rank",
            scorer="ridge_r2",
            penalised="sum",
            alphas=ALPHAS,
            output_weight="whitened",
            parameters=("alphas", "rank", "output_weight", "decoder"),
            colour="#009E73",
            cost=REDUCED_RANK_COST,
        ),
        OperatorMethod(
            "rrr_features",
            "reduced-rank ridge regression in the metric of an SAE's selected features",
            solver="reduced_rank",
            scorer="ridge_r2",
            penalised="sum",
            alphas=ALPHAS,
            output_weight="features",
            parameters=("alphas", "rank", "decoder"),
            stored_as="rrr",
            cost=REDUCED_RANK_COST,
        ),
        OperatorMethod(
            "svd",
            "ridge truncated to a rank by SVD: the study's, optimal for the matrix and not for its predictions",
            solver="truncated_ridge",
            scorer="ridge_r2",
            penalised="sum",
            alphas=ALPHAS,
            parameters=("alphas", "rank"),
            cost=RIDGE_COST,
        ),
        OperatorMethod(
            "jacobian",
            "the mean derivative of y by x, measured in the running model, moved to the train means",
            solver="given",
            measured=True,
        ),
        OperatorMethod(
            "identity",
            "x itself",
            solver="identity",
            one_width=True,
            baseline=True,
            colour="#E69F00",
        ),
        OperatorMethod(
            "identity+bias",
            "x moved by the difference of the train means",
            solver="shifted_identity",
            one_width=True,
            baseline=True,
            colour="#D55E00",
        ),
        OperatorMethod(
            "permuted",
            "ridge on pairs whose documents were shuffled: what position alone explains",
            solver="ridge",
            scorer="ridge_r2",
            penalised="sum",
            alphas=ALPHAS,
            parameters=("alphas",),
            permuted=True,
            strength_of="ridge",
            baseline=True,
            colour="#CC79A7",
        ),
        OperatorMethod(
            "mean",
            "the train mean of y, whatever x is",
            solver="mean",
            baseline=True,
            colour="#999999",
        ),
    )
}
"""Every method, in the order in which they are shown everywhere."""

BASELINES = tuple(method.name for method in METHODS.values() if method.baseline)

DEFAULT_METHODS = ("ridge", "linear", "rrr", "identity", "mean")
"""What a study fits unless its settings say otherwise."""


def method_named(name: str) -> OperatorMethod:
    """The method of a name. Raises SettingsError if there is none."""
    if name not in METHODS:
        raise SettingsError(f"unknown method {name!r}", cure=f"choose from {list(METHODS)}")
    return METHODS[name]


def takers_of(parameter: Parameter) -> str:
    """The methods for rows that have a parameter, as words: ``rrr or svd``."""
    return " or ".join(
        method.name for method in METHODS.values() if parameter in method.parameters and method.fits_rows
    )
