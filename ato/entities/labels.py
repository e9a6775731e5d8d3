"""From right answers to a label of an entity: known, unknown or between."""

from collections.abc import Mapping
from dataclasses import dataclass

from ato.errors import InputError, SettingsError

LABELS = ("known", "unknown", "between")


@dataclass(frozen=True)
class LabelRule:
    """When an attribute counts as recalled, and an entity as known: 3 drawn samples of 10 and 2 attributes in the study.

    Raises:
        SettingsError: a threshold below 1.
    """

    min_right_samples: int = 3
    """Right answers among the drawn samples (the greedy one is not counted) that make an attribute recalled."""
    known_attributes: int = 2
    """Recalled attributes that make an entity known; lowered to the number asked where fewer are asked."""

    def __post_init__(self) -> None:
        if self.min_right_samples < 1 or self.known_attributes < 1:
            raise SettingsError("the thresholds of a label are at least 1", where=self.text)

    @property
    def text(self) -> str:
        """The rule in words, a column of the table of labels."""
        return (
            f"recalled: >= {self.min_right_samples} drawn samples right; known: >= {self.known_attributes} attributes recalled"
            " (all that are asked, where fewer are); unknown: none; between: else"
        )


def label(right_of_samples: Mapping[str, int], n_samples: int, rule: LabelRule = LabelRule()) -> str:
    """``known``, ``unknown`` or ``between`` of one entity.

    Args:
        right_of_samples: attribute -> how many of its drawn samples are right.
        n_samples: drawn samples of each attribute.

    Raises:
        SettingsError: fewer samples are drawn than the rule wants right, so that nothing could be known.
        InputError: nothing was asked, or a count is not within 0 ... n_samples.
    """
    if n_samples < rule.min_right_samples:
        raise SettingsError(
            f"of {n_samples} samples {rule.min_right_samples} cannot be right",
            cure="draw more or lower min_right_samples",
        )
    if not right_of_samples:
        raise InputError("an entity of which nothing was asked has no label")
    if wrong := {name: count for name, count in right_of_samples.items() if not 0 <= count <= n_samples}:
        raise InputError(f"counts of right samples are not within 0 ... {n_samples}", where=wrong)
    recalled = sum(count >= rule.min_right_samples for count in right_of_samples.values())
    if recalled >= min(rule.known_attributes, len(right_of_samples)):
        return "known"
    return "between" if recalled else "unknown"
