"""Names of the interventions, which settings, tables and estimates list; what each does: ``ato.causal.interventions``."""

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
