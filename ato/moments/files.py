"""The file that moments are stored in: safetensors, whose names hold layers and keys as numbers.

A plain layer is its own number. x of chosen tokens has a number below 0: -(1 + source) where one choice serves all
targets, -(1 + source + 2^16 (1 + target)) where attention chose; permuted rows have -2^40 less the number of what was
permuted. These numbers live in files alone.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ato.errors import DamagedFileError
from ato.io.tensor_files import read_tensors, write_tensors
from ato.moments.sums import MomentSums
from ato.moments.token_groups import TokenGroups
from ato.residuals.position_policies import Layer, SourceKey, permuted_key

_STRIDE = 1 << 16  # more layers than any model has
_PERMUTED = 1 << 40


def file_number(layer: Layer) -> int:
    """The number that stands for a layer or key in files."""
    if not isinstance(layer, SourceKey):
        return int(layer)
    number = layer.source
    if layer.policy != "same":
        number = -(1 + layer.source + (0 if layer.target is None else _STRIDE * (1 + layer.target)))
    return -_PERMUTED - number if layer.permuted else number


def layer_of(number: int) -> Layer:
    """The layer or key that a number in a file stands for."""
    if number < -_PERMUTED // 2:
        return permuted_key(layer_of(-_PERMUTED - number))
    if number >= 0:
        return number
    beyond, source = divmod(-number - 1, _STRIDE)
    return SourceKey(source, beyond - 1, "attended") if beyond else SourceKey(source, policy="offset")


@dataclass(frozen=True)
class StoredMoments:
    """What a file of moments holds."""

    sums: MomentSums
    n_folds: int
    cuts: tuple[float, ...]
    precision: str


def write_moments(path: str | Path, stored: StoredMoments) -> None:
    """Write moments; equal ones give equal bytes."""
    sums = stored.sums
    arrays = {f"pilot/{file_number(layer)}": mean for layer, mean in sums.pilot.items()}
    for part, entries in (("sum", sums.sums), ("gram", sums.grams)):
        arrays |= {f"{part}/{file_number(layer)}/{group}": x.cpu().numpy() for (layer, group), x in entries.items()}
    for (source, target, group), x in sums.crosses.items():
        arrays[f"cross/{file_number(source)}/{target}/{group}"] = x.cpu().numpy()
    metadata = {
        "pairs": [(file_number(source), target) for source, target in sums.pairs],
        "n_folds": stored.n_folds,
        "cuts": stored.cuts,
        "squares_only": sorted(map(file_number, sums.squares_only)),
        "precision": stored.precision,
        "n": sums.n.tolist(),
        "epsilon": sums.epsilon,
    }
    write_tensors(path, "moments", arrays, metadata)


def read_moments(path: str | Path, pairs: Collection[tuple[Layer, int]] | None) -> StoredMoments:
    """The moments in a file, of some pairs or of all of them.

    Raises:
        InputError: there is no such file.
        DamagedFileError: the file is truncated, altered or holds something else.
    """
    layers = {layer for pair in pairs or () for layer in pair}

    def wanted(name: str) -> bool:
        part, *numbers = name.split("/")
        keys = [layer_of(int(number)) for number in numbers]
        return pairs is None or (tuple(keys[:2]) in pairs if part == "cross" else keys[0] in layers)

    arrays, metadata = read_tensors(path, "moments", wanted)
    try:
        stored = [(layer_of(source), target) for source, target in metadata["pairs"]]
        kept = [pair for pair in stored if pairs is None or pair in pairs]
        n_folds, cuts = metadata["n_folds"], tuple(metadata["cuts"])
        n = np.zeros(len(TokenGroups(n_folds, cuts)), dtype=np.int64)
        n[:] = metadata["n"]
        squares_only = map(layer_of, metadata.get("squares_only", ()))
        sums = MomentSums(tuple(kept), frozenset(squares_only), n, {}, metadata["epsilon"], {}, {}, {})
        for name, array in arrays.items():
            part, first, *rest = name.split("/")
            layer, numbers = layer_of(int(first)), [int(number) for number in rest]
            if part == "pilot":
                sums.pilot[layer] = array
            elif part == "cross":
                sums.crosses[layer, numbers[0], numbers[1]] = torch.from_numpy(array)
            else:
                {"sum": sums.sums, "gram": sums.grams}[part][layer, numbers[0]] = torch.from_numpy(array)
        return StoredMoments(sums, n_folds, cuts, metadata["precision"])
    except (KeyError, ValueError, TypeError, IndexError):
        raise DamagedFileError("incomplete moments", where=path, cure="collect them again") from None
