"""The science of activation transport: tensors in, numbers out.

Public names are listed in ``__all__`` and imported on first use, so that importing the package costs nothing.
"""

import importlib

_HOME = {
    "AtoError": "errors",
    "CanonicalModes": "ceilings",
    "FeatureEdits": "interventions",
    "FeatureStats": "feature_stats",
    "FeatureTransport": "feature_transport",
    "LanguageModel": "models",
    "LiveSource": "sources",
    "MemorySource": "residuals",
    "ModeScores": "mode_scores",
    "Moments": "moments",
    "PairScores": "residual_scores",
    "PairedSource": "pairing",
    "PermutedSource": "pairing",
    "PositionPolicy": "pairing",
    "ResidualBlock": "residuals",
    "ResidualEdits": "interventions",
    "ResidualSource": "residuals",
    "SAEQuality": "sae_quality",
    "SparseAutoencoder": "saes",
    "TransportOperator": "operators",
    "causal_losses": "causal",
    "ceiling": "ceilings",
    "document_bootstrap": "bootstrap",
    "fit_operator": "fitting",
    "fit_operator_from_moments": "fitting",
    "load_model": "models",
    "load_operator": "operators",
    "load_sae": "sae_files",
    "lts_rank_null": "ceilings",
    "operator_spectrum": "spectra",
    "parse_policy": "pairing",
    "save_sae": "sae_files",
    "scaling_fits": "scaling",
    "share_pass": "residuals",
    "train_sae": "sae_training",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ato' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ato.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
