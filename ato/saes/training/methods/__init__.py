"""The ways to train a sparse autoencoder, a module each: whatever stands here is found and offered everywhere."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from ato.saes.training.methods.method import REGISTERED, TrainingMethod

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

TRAINABLE: Mapping[str, TrainingMethod] = dict(sorted(REGISTERED.items()))
"""Ways to train, by the name of the architecture as settings and sae-lens have it."""

__all__ = ["TRAINABLE", "TrainingMethod"]
