"""Language models: loading, families, the forward pass and the places where it is read or replaced."""

from typing import TYPE_CHECKING

from ato.first_use import imported_on_first_use

if TYPE_CHECKING:
    from ato.models.files import ModelIdentity, identify
    from ato.models.language_model import LanguageModel, pad
    from ato.models.loading import load_model

__all__ = ["LanguageModel", "ModelIdentity", "identify", "load_model", "pad"]

__getattr__ = imported_on_first_use(
    __name__,
    {
        "LanguageModel": "language_model",
        "ModelIdentity": "files",
        "identify": "files",
        "load_model": "loading",
        "pad": "language_model",
    },
)
