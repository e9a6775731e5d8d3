"""Names of the interventions, which settings, tables and estimates list; what each does: ``ato.causal.interventions``."""

NONE = "none"
INTERVENTIONS = ("transport", "bias", "mean", "zero", "identity", "random_rotation")
"""Replacements of whole residuals, see ``ResidualEdits``."""
SHARED = ("mean", "zero", "random_rotation")
"""Those that need no source layer: made once for all pairs that end at a layer."""
FEATURE_INTERVENTIONS = ("feature_transport", "feature_zero")
"""Replacements of one SAE feature's component, see ``FeatureEdits``."""
