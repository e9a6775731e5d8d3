"""The architectures of sparse autoencoders, a module each: whatever stands here is found and offered everywhere."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from ato.errors import SAEError
from ato.saes.architectures.architecture import REGISTERED, Architecture

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

ARCHITECTURES: Mapping[str, Architecture] = dict(sorted(REGISTERED.items()))
"""Architectures that can be loaded and applied, by name."""
__all__ = ["ARCHITECTURES", "Architecture", "find_architecture"]


def find_architecture(name: object) -> Architecture:
    """The architecture of that name.

    Raises:
        SAEError: there is none; the message names those that there are.
    """
    if isinstance(name, str) and name in ARCHITECTURES:
        return ARCHITECTURES[name]
    raise SAEError(f"architecture {name!r} is not supported", cure=f"use one of {', '.join(ARCHITECTURES)}")
