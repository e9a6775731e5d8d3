"""Weights and settings from files, without running what they hold; both remember what was used of them."""

import json
import math
import pickle
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ato.errors import DamagedFileError, SAEError

_COPY = "copy or download it again"


class Weights:
    """Tensors of a file by name, each of which must be taken before ``finish``.

    Args:
        tensors: of floating point, or integers where they are numbers of features.
        where: file that messages name.
    """

    def __init__(self, tensors: Mapping[str, Tensor], where: object):
        self._tensors, self.where = dict(tensors), where

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __iter__(self) -> Any:
        return iter(dict(self._tensors))

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """A tensor as float32; ``shape`` is checked if given.

        Raises:
            SAEError: it is missing, of another shape, or not of floating point.
        """
        if name not in self._tensors:
            found = ", ".join(sorted(self._tensors)) or "none"
            raise SAEError(
                f"weights {name} are missing, found {found}",
                where=self.where,
                cure="use a complete file of this format",
            )
        tensor = self._tensors.pop(name).detach()
        if not tensor.is_floating_point():
            raise SAEError(
                f"{name} is {str(tensor.dtype).removeprefix('torch.')}, not floating point",
                where=self.where,
                cure="use weights that are not quantised",
            )
        if shape is not None and tuple(tensor.shape) != shape:
            raise SAEError(
                f"{name} is {list(tensor.shape)}, expected {list(shape)}",
                where=self.where,
                cure="config and weights belong to different SAEs, or a matrix was transposed: copy both again",
            )
        return tensor.float().contiguous()

    def take_number(self, name: str) -> float:
        """A tensor of one number, of any type."""
        if name in self._tensors and self._tensors[name].numel() == 1:
            return float(self._tensors.pop(name))
        return float(self.take(name, ()))

    def drop(self, name: str) -> None:
        """Leave out a tensor that is known not to enter the function."""
        self._tensors.pop(name, None)

    def finish(self) -> None:
        """Refuse what was not used.

        Raises:
            SAEError: a tensor is left, named.
        """
        if not self._tensors:
            return
        names = ", ".join(sorted(self._tensors))
        if any("skip" in name.lower() for name in self._tensors):
            raise SAEError(
                f"{names}: a skip connection, so this is a transcoder, not an SAE", where=self.where, cure="use an SAE"
            )
        raise SAEError(
            f"weights {names} have no part in an SAE of this kind",
            where=self.where,
            cure="its configuration names another kind than its weights: mend that, or use another SAE",
        )


class Settings:
    """Entries of a configuration, each of which must be asked for or known not to matter before ``finish``."""

    def __init__(self, entries: Mapping[str, Any], where: object):
        self.entries, self.where = dict(entries), where
        self._asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """An entry, ``default`` if it is missing or null."""
        self._asked.add(key)
        value = self.entries.get(key)
        return default if value is None else value

    def number(self, key: str) -> float | None:
        """An entry that is a number.

        Raises:
            SAEError: it is none.
        """
        value = self.get(key)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)):
            return value
        raise SAEError(f"{key} = {value!r} is not a number", where=self.where, cure="copy the configuration again")

    def whole(self, key: str) -> int:
        """An entry that is a positive whole number.

        Raises:
            SAEError: it is missing or none.
        """
        value = self.number(key)
        if value is None or value != int(value) or value < 1:
            raise SAEError(
                f"{key} = {value} is not a positive whole number", where=self.where, cure=f"copy {key} from its origin"
            )
        return int(value)

    def positive(self, key: str) -> float | None:
        """An entry that is a positive number, None if it is missing.

        Raises:
            SAEError: it is none.
        """
        value = self.number(key)
        if value is not None and value <= 0:
            raise SAEError(f"{key} = {value} is not positive", where=self.where, cure=f"copy {key} from its origin")
        return value

    def record(self, key: str) -> dict[str, Any]:
        """An entry that is a record, empty if it is missing.

        Raises:
            SAEError: it is none.
        """
        value = self.get(key, {})
        if isinstance(value, dict):
            return dict(value)
        raise SAEError(
            f"{key} = {value!r:.60} is no record of names and values",
            where=self.where,
            cure="copy the configuration again",
        )

    def refuse(self, key: str, why: str, cure: str = "use another SAE") -> None:
        """Refuse an entry that is set and not false, ``none`` or 0.

        Raises:
            SAEError: it is set; ``why`` says what it would mean.
        """
        value = self.get(key)
        if value and value != "none":
            raise SAEError(f"{key} = {value!r}: {why}", where=self.where, cure=cure)

    def finish(self, harmless: Collection[str]) -> None:
        """Refuse what was neither asked for nor is known not to change the function; null is no entry.

        Raises:
            SAEError: such a key, named.
        """
        unknown = [
            key
            for key, value in self.entries.items()
            if value is not None and key not in self._asked and key not in harmless
        ]
        if unknown:
            shown = ", ".join(f"{key} = {self.entries[key]!r}"[:60] for key in unknown[:3])
            raise SAEError(
                f"it is not known what {shown} changes in the SAE",
                where=self.where,
                cure="remove the key if it changes nothing, else use another SAE",
            )


def keys(text: str) -> frozenset[str]:
    """The words of a text, as a set of keys."""
    return frozenset(text.split())


def read_json(file: Path) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        SAEError: the file is missing.
        DamagedFileError: it is not JSON, or no object.
    """
    if not file.is_file():
        raise SAEError(f"no {file.name} in the folder", where=file.parent, cure=f"copy {file.name} beside the weights")
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"not a JSON object: {error}", where=file, cure=_COPY) from error
    if not isinstance(found, dict):
        raise DamagedFileError("not a JSON object", where=file, cure=_COPY)
    return found


def read_safetensors(file: Path) -> Weights:
    """The tensors of a safetensors file.

    Raises:
        DamagedFileError: it cannot be read.
    """
    try:
        return Weights(load_file(file), file)
    except (SafetensorError, ValueError, OSError, KeyError) as error:
        raise DamagedFileError(f"unreadable weights: {error}", where=file, cure=_COPY) from error


def read_npz(file: Path) -> Weights:
    """The arrays of a NumPy archive; arrays of Python objects are refused, since reading them runs code.

    Raises:
        SAEError: not arrays of numbers.
        DamagedFileError: it cannot be read.
    """
    try:
        with np.load(file, allow_pickle=False) as data:
            return Weights({name: torch.tensor(data[name]) for name in data.files}, file)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise DamagedFileError(f"unreadable weights: {error}", where=file, cure=_COPY) from error
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        # NumPy refuses arrays of Python objects: reading them would run what the file says.
        raise SAEError(f"not arrays of numbers: {error}", where=file, cure="use the published params.npz") from error


def read_torch(file: Path) -> Weights:
    """The tensors of a file of ``torch.save``, read so that no code of the file runs.

    Raises:
        SAEError: it holds more than tensors and numbers.
        DamagedFileError: it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # of unusual versions of the format, which it then reads or not
            found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error) or "Weights only load failed" in str(error):
            raise SAEError(
                "it holds Python objects beside tensors, and reading those would run code of the file",
                where=file,
                cure="save its state_dict alone, or use a safetensors file",
            ) from error
        raise DamagedFileError("unreadable weights", where=file, cure=_COPY) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedFileError("unreadable weights", where=file, cure=_COPY) from error
    tensors = {name: torch.as_tensor(value) for name, value in _plain(found, file).items()}
    return Weights(tensors, file)


def _plain(found: object, file: Path) -> dict[str, Tensor | float]:
    if isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor | int | float) for name, value in found.items()
    ):
        return found
    raise SAEError("it holds no tensors by name", where=file, cure="save the state_dict of one SAE")
