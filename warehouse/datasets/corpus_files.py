"""Which files a corpus names: paths, lists of them, ``~``, patterns and folders; what is not read is named."""

import glob
import os
from collections import abc
from dataclasses import dataclass
from pathlib import Path, PurePath

from ato.errors import CorpusError
from ato.io import embedded
from warehouse.datasets.corpus_formats import CORPUS_FORMATS, format_of, suffixes

HUB_PREFIX = "hub:"
_DESCRIPTIONS = ("dataset_info.json", "state.json")
Corpus = str | abc.Sequence[str]
"""A corpus as settings name it: one path, pattern, name or hub dataset, or several paths."""


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a local corpus."""

    read: tuple[Path, ...]
    """Files with documents, each once, in the order of their paths."""
    unread: tuple[Path, ...]
    """Files of its folders and patterns that no reader knows, and links that lead nowhere."""

    @property
    def state(self) -> tuple[tuple[int, int], ...]:
        """Size and modification time of each file that is read."""
        return tuple((status.st_size, status.st_mtime_ns) for status in (file.stat() for file in self.read))


def is_hub(corpus: Corpus) -> bool:
    """Whether a corpus is a dataset of the hub."""
    return isinstance(corpus, str) and corpus.startswith(HUB_PREFIX)


def corpus_label(corpus: Corpus) -> str:
    """A corpus in one line, as tables call it."""
    return corpus if isinstance(corpus, str) else ", ".join(corpus)


def short_name(corpus: Corpus) -> str:
    """A corpus in a word: what its first path is called, and how many more there are."""
    first, *others = (corpus,) if isinstance(corpus, str) else corpus
    name = PurePath(first.removeprefix(HUB_PREFIX)).stem or "corpus"
    return f"{name}-and-{len(others)}-more" if others else name


def corpus_files(corpus: Corpus) -> CorpusFiles:
    """The files that a local corpus names.

    Args:
        corpus: ``sotu`` or ``encyclopedia`` (embedded), a file, a folder (with all folders below it), a pattern such as
            ``texts/**/*.md``, or a list of these. ``~`` is the home folder; links are followed.

    Raises:
        CorpusError: there is no such file, a file named by itself is of an unknown format, or nothing can be read.
    """
    specs = (corpus,) if isinstance(corpus, str) else tuple(corpus)
    if hub := [spec for spec in specs if spec.startswith(HUB_PREFIX)]:
        raise CorpusError("a hub dataset is a corpus by itself", where=hub[0], cure="name local files, or it alone")
    # A file that two paths lead to is read once.
    every = {os.path.realpath(file): file for spec in reversed(specs) for file in reversed(_named(spec))}
    read = sorted(file for file in every.values() if file.is_file() and format_of(file) and not _is_about(file))
    unread = sorted(set(every.values()) - set(read))
    if not read:
        found = f": {', '.join(_endings(unread))} cannot be read" if unread else ""
        raise CorpusError(
            f"no documents in the folder{found}", where=corpus_label(corpus), cure=f"add {', '.join(suffixes())} files"
        )
    return CorpusFiles(tuple(read), tuple(unread))


def unread_line(unread: abc.Sequence[Path | str], shown: int = 5) -> str:
    """Unread files in one line: how many, of which endings, and the first few names."""
    names = ", ".join(Path(file).name for file in unread[:shown])
    more = f" and {len(unread) - shown} more" if len(unread) > shown else ""
    endings = ", ".join(f"{n} {ending}" for ending, n in _endings([Path(file) for file in unread]).items())
    return f"{len(unread)} files of the corpus are not read ({endings}): {names}{more}"


def _is_about(file: Path) -> bool:
    """Whether a file is what ``datasets`` writes beside its Arrow files to describe them."""
    return file.name in _DESCRIPTIONS and any(file.parent.glob("*.arrow"))


def _endings(files: abc.Sequence[Path]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for file in files:
        ending = file.suffix.lower() or "without ending"
        counts[ending] = counts.get(ending, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _named(spec: str) -> list[Path]:
    """The files that one path, pattern or name stands for, known format or not."""
    path = Path(spec).expanduser()
    if spec == embedded.CORPUS_NAME:
        return list(embedded.corpus_files())
    if spec == embedded.ENCYCLOPEDIA_NAME:
        return [embedded.fact_file("articles")]
    if path.is_dir():
        return _below(path)
    if path.is_file():
        if format_of(path) is None:
            raise CorpusError(
                f"unsupported file type {path.suffix or '(none)'}", where=spec, cure=f"use {', '.join(suffixes())}"
            )
        return [path]
    if glob.has_magic(spec):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if found:
            return [file for one in found for file in (_below(one) if one.is_dir() else [one])]
        raise CorpusError(
            "no file matches the pattern", where=spec, cure="check it: ** stands for folders at any depth"
        )
    cure = f"use {embedded.CORPUS_NAME}, {embedded.ENCYCLOPEDIA_NAME}, a file, a folder, a pattern, a list of these or {HUB_PREFIX}dataset"
    raise CorpusError("corpus not found", where=spec, cure=cure)


def _below(folder: Path) -> list[Path]:
    """All files below a folder; links to folders are followed, a folder that was seen is not entered again."""
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        found += [Path(place) / name for name in files]
    return sorted(found)


def formats_table() -> str:
    """All formats as a Markdown table: endings, whether compressed files are read, and what a document is."""
    lines = ["| files | also as `.gz`, `.zst` | a document is |", "|---|---|---|"]
    for one in CORPUS_FORMATS:
        endings = ", ".join(f"`{ending}`" for ending in one.suffixes)
        lines.append(f"| {endings} | {'yes' if one.compressible else 'no'} | {one.document} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(formats_table())
