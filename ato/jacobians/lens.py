"""Files of the Jacobian lens: averaged Jacobians from layers of a model to its last one.

The layout is that of ``anthropics/jacobian-lens`` (Gurnee et al., 2026, transformer-circuits.pub/2026/workspace), which
Neuronpedia publishes too: ``torch.save`` of {"J": {layer: float16 [d, d]}, "n_prompts", "source_layers", "d_model"}, where
``J[l]`` takes the residual stream after block l to that after the last block, y = J x, summed over later positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ato.errors import DamagedFileError, InputError, MismatchError

KEYS = frozenset({"J", "n_prompts", "source_layers", "d_model"})
MORE_KEYS = frozenset({"metadata"})
"""What TransformerLens adds: where the file comes from, in words and numbers."""
_CURE = "use a file that jacobian-lens, TransformerLens or `ato export jacobians` wrote"


@dataclass(frozen=True, eq=False)
class JacobianLens:
    """Mean Jacobians from some layers to one target layer."""

    matrices: Mapping[int, np.ndarray]
    """Source layer -> [d_model, d_model] float32; row i is the gradient of coordinate i of the target."""
    n_prompts: int
    """Documents that were averaged over."""

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return next(iter(self.matrices.values())).shape[0]

    def save(self, path: str | Path) -> None:
        """Write the file, matrices in float16.

        Raises:
            InputError: a number is too large for float16, or there is no matrix.
        """
        import torch

        if not self.matrices:
            raise InputError("no Jacobian to write", where=path)
        halves = {layer: torch.from_numpy(np.ascontiguousarray(x)).half() for layer, x in sorted(self.matrices.items())}
        if wrong := [layer for layer, half in halves.items() if not bool(half.isfinite().all())]:
            raise InputError(f"the Jacobian of layer {wrong[0]} does not fit into float16", where=path)
        content = {"J": halves, "n_prompts": self.n_prompts, "source_layers": list(halves), "d_model": self.d_model}
        torch.save(content, str(path))


def load_lens(path: str | Path) -> JacobianLens:
    """The lens of a file; nothing but tensors and plain values is unpickled.

    Raises:
        InputError: there is no such file.
        DamagedFileError: it is no such file, or holds what is not in the layout.
        MismatchError: layers or shapes do not agree with what the file says of them.
    """
    import pickle

    import torch

    if not Path(path).is_file():
        raise InputError("no file of a Jacobian lens", where=path)
    try:
        content = torch.load(str(path), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise DamagedFileError(f"no Jacobian lens ({reason})", where=path, cure=_CURE) from None
    _check_content(content, path)
    d, layers = content["d_model"], content["source_layers"]
    if sorted(content["J"]) != sorted(layers) or len(set(layers)) != len(layers):
        what = f"matrices of layers {sorted(content['J'])}, the file names {list(layers)}"
        raise MismatchError(what, where=path, cure=_CURE)
    for layer, matrix in content["J"].items():
        if matrix.shape != (d, d):
            shape = tuple(matrix.shape)
            raise MismatchError(f"J[{layer}] is {shape}, not ({d}, {d})", where=path, cure=_CURE)
        if not bool(matrix.isfinite().all()):
            raise DamagedFileError(f"J[{layer}] has NaN or infinity", where=path, cure=_CURE)
    return JacobianLens({layer: content["J"][layer].float().numpy() for layer in sorted(layers)}, content["n_prompts"])


def _check_content(content: Any, path: str | Path) -> None:
    import torch

    if not isinstance(content, dict) or not content.keys() >= KEYS:
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise DamagedFileError(f"no Jacobian lens (it holds {found})", where=path, cure=_CURE)
    if unknown := sorted(map(str, content.keys() - KEYS - MORE_KEYS)):
        raise DamagedFileError(f"unknown entries {unknown} in a Jacobian lens", where=path, cure=_CURE)
    matrices, layers = content["J"], content["source_layers"]
    plain = isinstance(content["d_model"], int) and isinstance(content["n_prompts"], int)
    listed = isinstance(layers, list | tuple) and all(isinstance(layer, int) and layer >= 0 for layer in layers)
    tensors = isinstance(matrices, dict) and all(
        isinstance(layer, int) and isinstance(x, torch.Tensor) and x.is_floating_point()
        for layer, x in matrices.items()
    )
    if not (plain and listed and tensors and matrices):
        raise DamagedFileError("entries of a Jacobian lens are not what they should be", where=path, cure=_CURE)
