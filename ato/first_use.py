"""Public names of a package, imported when they are first used: what is light in a package then needs nothing heavy."""

from collections.abc import Callable, Mapping
from importlib import import_module


def imported_on_first_use(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """The ``__getattr__`` of a package (PEP 562).

    Args:
        package: its ``__name__``.
        modules: public name -> module of the package that holds it.
    """

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return get
