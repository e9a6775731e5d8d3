"""Models that settings name: whether they are on this machine, and their shape; none is loaded."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ato.errors import AtoError
from ato.models.files import is_hub_id, locate
from ato.models.shapes import ModelShape, model_shape
from flows.judging.faults import Fault


def missing_model(setting: str, name: str) -> Iterator[Fault]:
    """A fault if a name is neither that of a model here nor like one of the hub, which only a run asks.

    Args:
        setting: that names it: ``model.name``.
        name: of the model.
    """
    if not is_hub_id(name) or Path(name).expanduser().exists():
        try:
            locate(name)
        except AtoError as error:
            yield Fault(setting, name, error.what, error.cure or "check the path")


def known_shape(name: str) -> ModelShape | None:
    """Shape of a model; None where it is not on this machine, or its files cannot be read: loading says why."""
    path = Path(name).expanduser()
    file = path / "config.json" if path.is_dir() else path
    return _shape(name, file.stat().st_mtime_ns if file.is_file() else None)


@lru_cache(maxsize=64)
def _shape(name: str, changed_at: int | None) -> ModelShape | None:
    try:
        return model_shape(name)
    except (AtoError, OSError, KeyError, ValueError):
        return None
