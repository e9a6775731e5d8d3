"""Which of a token's features are listed, and whether special tokens are shown: choices that all texts of a page share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dashboards.ui.address import choose, switch
from dashboards.ui.feature_names import FeatureName, rarer

if TYPE_CHECKING:
    from ato.features.token_features import TokenFeatures

DENSEST = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
"""Shares of tokens that the slider offers."""


@dataclass(frozen=True)
class TokenChoices:
    """What the reader chose."""

    densest: float
    """Features that fire on a larger share of tokens are hidden."""
    special: bool
    """Whether tokens that stand for no text, such as BOS, are shown."""

    def listed(
        self, features: Sequence["TokenFeatures | None"], names: Mapping[int, FeatureName]
    ) -> list["TokenFeatures | None"]:
        """The features of each token without those that are too dense; counts stay those of all."""
        every = {one for of in features if of is not None for one in of.features}
        kept = rarer(every, names, self.densest)
        return [None if of is None else _without(of, kept) for of in features]


def token_choices(where: Any) -> TokenChoices:
    """The slider and the switch, kept in the address.

    Args:
        where: a container for them.
    """
    densest = choose(
        "Hide features that fire on more than",
        "densest",
        DENSEST,
        default=DENSEST[0],
        format=lambda share: f"{100 * share:g} %",
        help="Of the tokens on which statistics were made. 100 %: none is hidden.",
        where=where,
        widget="select_slider",
    )
    special = switch("Special tokens", "special", help="Show tokens that stand for no text, such as BOS.", where=where)
    return TokenChoices(densest or DENSEST[0], special)


def _without(of: "TokenFeatures", kept: set[int]) -> "TokenFeatures":
    places = [place for place, one in enumerate(of.features) if one in kept]
    return replace(
        of,
        features=tuple(of.features[place] for place in places),
        activations=tuple(of.activations[place] for place in places),
        predicted=None if of.predicted is None else tuple(of.predicted[place] for place in places),
    )
