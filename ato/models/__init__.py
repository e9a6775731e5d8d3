"""Language models: loading, families, the forward pass and the places where it is read or replaced."""

from ato.models.files import ModelIdentity, identify
from ato.models.language_model import LanguageModel, pad
from ato.models.loading import load_model

__all__ = ["LanguageModel", "ModelIdentity", "identify", "load_model", "pad"]
