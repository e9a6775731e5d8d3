"""The science of activation transport: tensors in, numbers out.

Public names are imported on first use, so that importing the package costs nothing; type checkers read real imports.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ato.causal.interventions import FeatureEdits, ResidualEdits
    from ato.causal.losses import causal_losses
    from ato.errors import AtoError
    from ato.evaluation.ceilings import CanonicalModes, ceiling
    from ato.evaluation.feature_transport import FeatureTransport
    from ato.evaluation.held_out_ceilings import ModeScores
    from ato.evaluation.residual_scores import PairScores
    from ato.evaluation.subspace_sizes import lts_rank_null
    from ato.features.stats import FeatureStats
    from ato.models.language_model import LanguageModel
    from ato.models.loading import load_model
    from ato.moments.moments import Moments
    from ato.numerics.intervals import Estimate, document_interval
    from ato.operators.fitting import OperatorFit, fit_operator, fit_operator_from_moments
    from ato.operators.operator import TransportOperator, load_operator
    from ato.operators.scaling import scaling_fits
    from ato.operators.spectra import operator_spectrum
    from ato.residuals.blocks import ResidualBlock, ResidualSource, run_pass
    from ato.residuals.exclusion import ExclusionPolicy
    from ato.residuals.live import LiveSource, median_norms
    from ato.residuals.memory import MemorySource
    from ato.residuals.pairing import PairedSource, PermutedSource
    from ato.residuals.position_policies import PositionPolicy, parse_policy
    from ato.saes.autoencoder import SparseAutoencoder
    from ato.saes.files import load_sae, save_sae
    from ato.saes.quality import SAEQuality
    from ato.saes.training.trainer import TrainedSAE, train_sae
    from ato.text.documents import Document
    from ato.text.sequences import TokenSequence, make_sequences
else:
    from importlib import import_module

    _HOME = {
        "AtoError": "errors",
        "CanonicalModes": "evaluation.ceilings",
        "Document": "text.documents",
        "Estimate": "numerics.intervals",
        "ExclusionPolicy": "residuals.exclusion",
        "FeatureEdits": "causal.interventions",
        "FeatureStats": "features.stats",
        "FeatureTransport": "evaluation.feature_transport",
        "LanguageModel": "models.language_model",
        "LiveSource": "residuals.live",
        "MemorySource": "residuals.memory",
        "ModeScores": "evaluation.held_out_ceilings",
        "Moments": "moments.moments",
        "OperatorFit": "operators.fitting",
        "PairScores": "evaluation.residual_scores",
        "PairedSource": "residuals.pairing",
        "PermutedSource": "residuals.pairing",
        "PositionPolicy": "residuals.position_policies",
        "ResidualBlock": "residuals.blocks",
        "ResidualEdits": "causal.interventions",
        "ResidualSource": "residuals.blocks",
        "SAEQuality": "saes.quality",
        "SparseAutoencoder": "saes.autoencoder",
        "TokenSequence": "text.sequences",
        "TrainedSAE": "saes.training.trainer",
        "TransportOperator": "operators.operator",
        "causal_losses": "causal.losses",
        "ceiling": "evaluation.ceilings",
        "document_interval": "numerics.intervals",
        "fit_operator": "operators.fitting",
        "fit_operator_from_moments": "operators.fitting",
        "load_model": "models.loading",
        "load_operator": "operators.operator",
        "load_sae": "saes.files",
        "lts_rank_null": "evaluation.subspace_sizes",
        "make_sequences": "text.sequences",
        "median_norms": "residuals.live",
        "operator_spectrum": "operators.spectra",
        "parse_policy": "residuals.position_policies",
        "run_pass": "residuals.blocks",
        "save_sae": "saes.files",
        "scaling_fits": "operators.scaling",
        "train_sae": "saes.training.trainer",
    }

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module 'ato' has no attribute {name!r}")
        return getattr(import_module(f"ato.{_HOME[name]}"), name)

    def __dir__():
        return __all__


__all__ = [
    "AtoError",
    "CanonicalModes",
    "Document",
    "Estimate",
    "ExclusionPolicy",
    "FeatureEdits",
    "FeatureStats",
    "FeatureTransport",
    "LanguageModel",
    "LiveSource",
    "MemorySource",
    "ModeScores",
    "Moments",
    "OperatorFit",
    "PairScores",
    "PairedSource",
    "PermutedSource",
    "PositionPolicy",
    "ResidualBlock",
    "ResidualEdits",
    "ResidualSource",
    "SAEQuality",
    "SparseAutoencoder",
    "TokenSequence",
    "TrainedSAE",
    "TransportOperator",
    "causal_losses",
    "ceiling",
    "document_interval",
    "fit_operator",
    "fit_operator_from_moments",
    "load_model",
    "load_operator",
    "load_sae",
    "lts_rank_null",
    "make_sequences",
    "median_norms",
    "operator_spectrum",
    "parse_policy",
    "run_pass",
    "save_sae",
    "scaling_fits",
    "train_sae",
]
