"""What is shown of one feature to whoever describes it, and what descriptions are judged on."""

from dataclasses import dataclass, field

from ato.features.excerpts import Excerpt


@dataclass(frozen=True)
class FeatureEvidence:
    """All that is shown of one feature: descriptions are made from ``examples``, and judged on other documents."""

    feature_id: int
    examples: tuple[Excerpt, ...] = ()
    """Active, of train documents, the strongest first."""
    positives: tuple[Excerpt, ...] = ()
    """Active, of validation and test documents."""
    negatives: dict[str, tuple[Excerpt, ...]] = field(default_factory=dict)
    """By tier (``random``, ``same_stratum``, ``near_miss``): silent throughout, of validation and test documents."""
    promoted: tuple[str, ...] = ()
    """Tokens that the feature's decoder row raises most (logit lens)."""
