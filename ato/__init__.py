"""The science of activation transport: tensors in, numbers out.

Public names are listed in ``__all__`` and imported on first use, so that importing the package costs nothing.
"""

import importlib

_HOME = {
    "AtoError": "errors",
    "CanonicalModes": "evaluation.ceilings",
    "FeatureEdits": "causal.interventions",
    "FeatureStats": "features.stats",
    "FeatureTransport": "evaluation.feature_transport",
    "LanguageModel": "models.language_model",
    "LiveSource": "residuals.live",
    "MemorySource": "residuals.memory",
    "ModeScores": "evaluation.held_out_ceilings",
    "Moments": "moments.moments",
    "PairScores": "evaluation.residual_scores",
    "PairedSource": "residuals.pairing",
    "PermutedSource": "residuals.pairing",
    "PositionPolicy": "residuals.position_policies",
    "ResidualBlock": "residuals.blocks",
    "ResidualEdits": "causal.interventions",
    "ResidualSource": "residuals.blocks",
    "SAEQuality": "saes.quality",
    "SparseAutoencoder": "saes.autoencoder",
    "TransportOperator": "operators.operator",
    "causal_losses": "causal.losses",
    "ceiling": "evaluation.ceilings",
    "document_bootstrap": "numerics.bootstrap",
    "fit_operator": "operators.fitting",
    "fit_operator_from_moments": "operators.fitting",
    "load_model": "models.loading",
    "load_operator": "operators.operator",
    "load_sae": "saes.files",
    "lts_rank_null": "evaluation.ceilings",
    "operator_spectrum": "operators.spectra",
    "parse_policy": "residuals.position_policies",
    "save_sae": "saes.files",
    "scaling_fits": "operators.scaling",
    "run_pass": "residuals.blocks",
    "train_sae": "saes.training.trainer",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ato' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ato.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
