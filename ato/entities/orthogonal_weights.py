"""Weights of a model made orthogonal to a direction for a while, so that nothing writes it into the residual stream.

W <- W - u u^T W for embeddings and the output projections of attention and MLP, biases included (Arditi et al., 2024,
arXiv 2406.11717). Where a norm with gains g follows the projection (Gemma 2 and 3, GLM-4), what enters the stream is g * W y over a
number; it is orthogonal to u where W y is orthogonal to g * u, so the projection loses that direction instead.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter

import numpy as np
import torch
from torch import Tensor, nn

from ato.entities.steering import unit
from ato.errors import MismatchError, ModelError
from ato.models.families import ModelParts
from ato.models.language_model import LanguageModel
from ato.models.layouts import FAMILIES


@contextmanager
def orthogonalised(model: LanguageModel, direction: Tensor | np.ndarray) -> Iterator[LanguageModel]:
    """Within it, the model writes nothing along a direction [d_model]; afterwards its weights are the very same.

    The unembedding stays, also where the embedding shares its weights. Not for several threads at once.

    Raises:
        ModelError: it is not known what writes into the stream of this family, see ``Layout.embeddings``.
        MismatchError: the direction is not as wide as the residual stream.
        SettingsError: its length is 0 or not finite.
    """
    u = unit(direction).to(model.device)
    if len(u) != model.d_model:
        raise MismatchError(f"a direction of width {len(u)} for a residual stream of {model.d_model}")
    changes = list(_writers(model.parts, u))  # refuses an unknown structure before anything is changed
    with ExitStack() as undo:
        own = model.parts.head._parameters
        shared = own["weight"]
        assert shared is not None
        undo.callback(own.__setitem__, "weight", shared)
        own["weight"] = nn.Parameter(shared.data, requires_grad=False)  # no longer the embedding's
        for module, axis, v in changes:
            for name in ("weight", "bias"):
                parameter = module._parameters.get(name)
                if parameter is None:
                    continue
                undo.callback(setattr, parameter, "data", parameter.data)
                parameter.data = _without(parameter.data, v, axis if name == "weight" else 0)
        yield model


def _writers(parts: ModelParts, u: Tensor) -> Iterator[tuple[nn.Module, int, Tensor]]:
    """(module, axis of its weight that lies in the stream, unit direction that it must not write)."""
    layout = parts.layout
    if (
        layout is None
        or not parts.known
        or not layout.embeddings
        or getattr(parts.body, "project_in", None) is not None
    ):
        families = [name for name, known in FAMILIES.items() if known.embeddings]
        cure = f"use a model of type {', '.join(families)}"
        raise ModelError(
            "it is not known what writes into the residual stream", where=type(parts.body).__name__, cure=cure
        )
    for name in layout.embeddings:
        yield attrgetter(name)(parts.body), 1, u
    for layer in range(len(parts.blocks)):
        for part, behind in (("projection", "attn_out"), ("mlp_projection", "mlp_out")):
            module = parts.submodule(layer, part)
            normed = getattr(layout, behind).endswith("norm")
            v = _behind_norm(parts.submodule(layer, behind), u) if normed else u
            # GPT-2's projections are stored transposed.
            yield module, 0 if isinstance(module, nn.Linear) else 1, v


def _behind_norm(norm: nn.Module, u: Tensor) -> Tensor:
    """Unit vector along g * u, for the gains g of a norm that scales to unit mean square and multiplies by g."""
    with torch.no_grad():
        return unit(norm(torch.ones_like(u)).float() * u).to(u.device)  # the norm of ones is g, up to a factor


def _without(weight: Tensor, v: Tensor, axis: int) -> Tensor:
    """The weight with nothing along v on an axis, computed in float32 at least."""
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32)).movedim(axis, -1)
    v = v.to(exact)
    return (exact - (exact @ v)[..., None] * v).movedim(-1, axis).to(weight.dtype).contiguous()
