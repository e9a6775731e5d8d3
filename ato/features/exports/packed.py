"""Features packed for circuit-tracer: a binary file a layer, and an index by which a viewer fetches single features.

``layer_{L}.bin`` holds one entry a feature, in order: its length N as four bytes (little-endian), then N bytes, a gzip
member of the feature's JSON. ``index.json.gz`` says where each begins::

    {"version": "1.0", "format": "variable_chunks", "0": {"filename": "layer_0.bin", "offsets": [0, e0, e1, ...]}, ...}

with one offset more than features. The index is written last, so a folder with an index is whole.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, BinaryIO

from ato.errors import DamagedFileError, InputError
from ato.features.exports.expanded import silent_json
from ato.features.exports.strict_json import json_bytes
from ato.io.atomic_file import atomic_file, remove_others

INDEX = "index.json.gz"
LARGEST_FEATURE = 64 * 2**20
"""Most bytes of a feature's JSON that are read."""
_LENGTH = struct.Struct("<I")
_ANY_WRAPPER = 32 + zlib.MAX_WBITS
"""zlib's word for data in a gzip or zlib wrapper."""


def pack(features: Iterable[Mapping[str, Any]], folder: str | Path, widths: Mapping[int, int] | None = None) -> Path:
    """Write features, one at a time, as ``layer_{L}.bin`` and the index, whose path is returned.

    Args:
        features: contents of features (``feature_json``), by ``layer`` and ``feature``, each once.
        folder: created if it is missing; layers of an earlier pack in it are removed.
        widths: features of each layer. A feature that is not given gets an entry that says so, because viewers fail on
            empty ones; without ``widths`` such a feature has no bytes, and a layer ends with its last one.

    Raises:
        InputError: features in another order, given twice, or beyond the width of their layer.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)  # until it is written anew, there is no pack
    index: dict[str, Any] = {"version": "1.0", "format": "variable_chunks"}
    last = -1
    for layer, own in groupby(features, key=lambda one: int(one["layer"])):
        if layer <= last or layer < 0:
            raise InputError(f"layer {layer} comes after {last}", cure="give features by layer, from 0")
        _add_silent(index, folder, last + 1, layer, widths)
        index[str(layer)] = _pack_layer(folder, layer, own, None if widths is None else widths.get(layer, 0))
        last = layer
    _add_silent(index, folder, last + 1, max(widths or {}, default=-1) + 1, widths)
    with atomic_file(folder / INDEX) as file:
        file.write(gzip.compress(json_bytes(index), mtime=0))
    remove_others(folder, "layer_*.bin", {f"layer_{layer}.bin" for layer in index})
    return folder / INDEX


def _add_silent(index: dict[str, Any], folder: Path, start: int, stop: int, widths: Mapping[int, int] | None) -> None:
    """Layers of which no feature is given."""
    for layer in range(start, stop):
        if widths is not None and layer in widths:
            index[str(layer)] = _pack_layer(folder, layer, (), widths[layer])


def _pack_layer(folder: Path, layer: int, features: Iterable[Mapping[str, Any]], width: int | None) -> dict[str, Any]:
    """Write a layer's file; returns its entry in the index."""
    offsets, name = [0], f"layer_{layer}.bin"
    with atomic_file(folder / name) as file:
        for content in features:
            feature_id = int(content["feature"])
            if feature_id < len(offsets) - 1 or (width is not None and feature_id >= width):
                found = f"feature {feature_id} does not follow feature {len(offsets) - 2} of a layer of width {width}"
                raise InputError(found, where=f"layer {layer}", cure="give each feature once, by number")
            _fill(file, offsets, layer, feature_id, silent=width is not None)
            _append(file, offsets, content)
        _fill(file, offsets, layer, width or 0, silent=True)
    return {"filename": name, "offsets": offsets}


def _fill(file: BinaryIO, offsets: list[int], layer: int, stop: int, *, silent: bool) -> None:
    """Entries of the features up to ``stop`` that are not given."""
    while len(offsets) - 1 < stop:
        if silent:
            _append(file, offsets, silent_json(layer, len(offsets) - 1))
        else:
            offsets.append(offsets[-1])


def _append(file: BinaryIO, offsets: list[int], content: Mapping[str, Any]) -> None:
    packed = gzip.compress(json_bytes(content), mtime=0)
    file.write(_LENGTH.pack(len(packed)) + packed)
    offsets.append(offsets[-1] + _LENGTH.size + len(packed))


class PackedFeatures:
    """Features of a packed folder, each read when it is asked for.

    Args:
        folder: with ``index.json.gz``.

    Raises:
        InputError: there is no index.
        DamagedFileError: the index cannot be read, or does not fit its files.
    """

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)
        self._layers: dict[int, tuple[Path, list[int]]] = {}
        for layer, entry in _read_index(self._folder / INDEX).items():
            self._layers[layer] = _checked(self._folder, layer, entry)

    @property
    def widths(self) -> dict[int, int]:
        """Layer -> features, those without an entry included."""
        return {layer: len(offsets) - 1 for layer, (_, offsets) in sorted(self._layers.items())}

    def read(self, layer: int, feature_id: int) -> dict[str, Any] | None:
        """A feature's JSON; None if it has no bytes.

        Raises:
            InputError: no such layer or feature.
            DamagedFileError: the entry is cut or altered.
        """
        if layer not in self._layers or not 0 <= feature_id < self.widths[layer]:
            known = ", ".join(f"{width:,} at layer {one}" for one, width in self.widths.items()) or "none"
            raise InputError(f"no feature {feature_id} at layer {layer}", where=self._folder, cure=f"there are {known}")
        path, offsets = self._layers[layer]
        with path.open("rb") as file:
            return _read_entry(file, offsets, feature_id, path)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every feature that has bytes, by layer and number."""
        for _, (path, offsets) in sorted(self._layers.items()):
            with path.open("rb") as file:
                for feature_id in range(len(offsets) - 1):
                    if (content := _read_entry(file, offsets, feature_id, path)) is not None:
                        yield content


def inflate(entry: bytes) -> dict[str, Any]:
    """The JSON of an entry; bytes behind it are ignored, since viewers fetch one too many.

    Args:
        entry: its length as four bytes, then as many bytes of gzip or zlib.

    Raises:
        ValueError: cut, altered, or no JSON object of at most ``LARGEST_FEATURE`` bytes.
    """
    if len(entry) < _LENGTH.size:
        raise ValueError("no length")
    (length,) = _LENGTH.unpack_from(entry)
    packed = entry[_LENGTH.size : _LENGTH.size + length]
    if len(packed) < length:
        raise ValueError(f"{len(packed)} of {length} bytes")
    stream = zlib.decompressobj(_ANY_WRAPPER)
    try:
        text = stream.decompress(packed, LARGEST_FEATURE)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not stream.eof:
        raise ValueError(f"no end within {LARGEST_FEATURE:,} bytes")
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    return content


def _read_entry(file: BinaryIO, offsets: list[int], feature_id: int, path: Path) -> dict[str, Any] | None:
    start, stop = offsets[feature_id : feature_id + 2]
    if start == stop:
        return None
    file.seek(start)
    try:
        return inflate(file.read(stop - start))
    except ValueError as error:
        raise DamagedFileError(
            f"feature {feature_id} cannot be read: {error}", where=path, cure="pack the features again"
        ) from None


def _read_index(path: Path) -> dict[int, Any]:
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
        if content["format"] != "variable_chunks":
            raise ValueError(f"format {content['format']!r}")
        return {int(name): entry for name, entry in content.items() if name not in ("version", "format")}
    except FileNotFoundError:
        raise InputError("no index of packed features", where=path, cure="pack features into this folder") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise DamagedFileError(f"the index cannot be read: {error}", where=path, cure="pack again") from None


def _checked(folder: Path, layer: int, entry: Any) -> tuple[Path, list[int]]:
    """The file and the offsets of a layer, if they fit each other."""
    try:
        name, offsets = str(entry["filename"]), [int(offset) for offset in entry["offsets"]]
        path = folder / name
        fits = Path(name).name == name and offsets[0] == 0 and offsets[-1] == path.stat().st_size
        fits &= all(start <= stop for start, stop in pairwise(offsets))
    except (KeyError, TypeError, ValueError, IndexError, OSError):
        fits = False
    if not fits:
        raise DamagedFileError(
            f"the index does not fit the file of layer {layer}", where=folder, cure="pack the features again"
        )
    return path, offsets
