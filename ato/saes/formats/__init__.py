"""The file formats of published SAEs, a module each: whatever stands here is found, read and listed everywhere."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from ato.errors import SAEError
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.formats.format import REGISTERED, Format

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

FORMATS: Mapping[str, Format] = dict(sorted(REGISTERED.items()))
"""Formats that are read, by name."""

__all__ = ["FORMATS", "Format", "find_format", "read_sae"]


def find_format(path: Path) -> tuple[Format, Path]:
    """The format of a folder or file, and its file with the weights.

    Raises:
        SAEError: nothing there, no format or more than one; the message names the files of each.
    """
    if not path.exists():
        raise SAEError("no such file or folder", where=path, cure="give the folder or file of an SAE")
    found = [(kind, file) for kind in FORMATS.values() for file in kind.weights_in(path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{file.name} ({kind.name})" for kind, file in found[:5])
        raise SAEError(f"{len(found)} SAEs stand here: {names}", where=path, cure="name one of the files")
    if path.is_file():
        known = ", ".join(f"{kind.weights_name} ({kind.name})" for kind in FORMATS.values())
        raise SAEError(f"{path.name} is of no known format", where=path, cure=f"known files: {known}")
    expected = " or ".join(f"{kind.files} ({kind.name})" for kind in FORMATS.values())
    has = sorted(file.name for file in path.iterdir())
    if "config.yaml" in has and any(file.suffix == ".safetensors" for file in path.glob("layer_*")):
        what, cure = (
            "transcoders, each of which writes at another place than it reads",
            "use an SAE; in a study set site and target_site too",
        )
        raise SAEError(f"the folder holds a set of {what}", where=path, cure=cure)
    missing = "no sae_weights.safetensors" if "cfg.json" in has else "no weights of a known format"
    raise SAEError(f"{missing} in the folder, which holds {', '.join(has[:8]) or 'nothing'}", where=path, cure=expected)


def read_sae(path: Path) -> SparseAutoencoder:
    """The SAE of a folder or file of any format, float32 on the CPU.

    Raises:
        SAEError: no known format, or a file of it that would have to be guessed at.
        DamagedFileError: a truncated or altered file, or weights that are NaN or infinite.
    """
    kind, file = find_format(path)
    return kind.read(file)
