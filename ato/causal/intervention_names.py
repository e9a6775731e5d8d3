"""Names of the interventions, which settings, tables and estimates list; what each does: ``ato.causal.interventions``."""

from collections.abc import Iterable

NONE = "none"
INTERVENTIONS = ("transport", "bias", "mean", "zero", "identity", "random_rotation")
"""Replacements of whole residuals, see ``ResidualEdits``."""
SHARED = ("mean", "zero", "random_rotation")
"""Those that need no source layer: made once for all pairs that end at a layer."""
FEATURE_INTERVENTIONS = ("feature_transport", "feature_zero")
"""Replacements of one SAE feature's component, see ``FeatureEdits``."""
RIVALS = ("identity", "mean", "bias", "random_rotation", "zero")
"""What transport is held against, the strongest first: most of the residual stream is copied from earlier layers."""
SHOWN = ("transport", *RIVALS)
"""The order in which tables, charts and summaries show replacements of whole residuals."""
COMPARED = {"transport": RIVALS, "feature_transport": ("feature_zero",)}
"""What is transported -> its rivals."""
STUDY = "study"
"""Name of the average over the study's position sets."""
STUDY_SETS = ("10,50,70,100,120", "11,51,71,101,121", "12,52,72,102,122")
"""The study's three sets of edited positions."""
ALL = "all"
"""Name of the set of all positions."""


def in_shown_order(position_sets: Iterable[str]) -> list[str]:
    """Sets of edited positions, each once, the one that is shown at first in front: the study's average; ``all`` is last.

    >>> in_shown_order(["all", "50", "10", "study"])
    ['study', '10', '50', 'all']
    """
    return sorted(set(position_sets), key=lambda name: (name != STUDY, name == ALL, name))


def edited_in_words(position_set: str) -> str:
    """Which residuals a set replaces, in words.

    >>> edited_in_words("10,50")
    'at positions 10, 50'
    """
    if position_set in (STUDY, ALL):
        return "at five positions" if position_set == STUDY else "at all positions"
    return f"at position{'s' if ',' in position_set else ''} {position_set.replace(',', ', ')}"
