"""Layers of settings against the blocks of the model, and against the layers that are collected."""

from collections.abc import Iterable, Iterator
from typing import Any

from ato.models.shapes import ModelShape
from flows.judging.faults import Fault
from flows.settings import Settings


def beyond_model(setting: str, value: Any, layers: Iterable[int], shape: ModelShape | None) -> Iterator[Fault]:
    """A fault if some of the layers are not in the model."""
    layers = sorted(set(layers))
    wrong = [layer for layer in layers if layer < 0 or (shape is not None and layer >= shape.n_layers)]
    if wrong:
        last = f"use layers 0 to {shape.n_layers - 1}" if shape else "use layers from 0"
        right = [layer for layer in layers if layer not in wrong]
        works = f"{last}, such as {right}" if right else last
        yield Fault(setting, value, f"the model has no layers {_listed(wrong)}", works)


def not_collected(
    setting: str, value: Any, layers: Iterable[int], settings: Settings, shape: ModelShape | None
) -> Iterator[Fault]:
    """A fault if the settings collect other layers than these, all of the model."""
    collected = settings.collect.layers
    if collected is None or any(True for _ in beyond_model("collect.layers", collected, collected, shape)):
        return
    if missing := sorted(set(layers) - set(settings.layers)):
        needed = {*settings.operators.layers, *sae_layers(settings), *missing}  # one list for all that lack a layer
        every = sorted({*settings.layers, *(layer for layer in needed if shape is None or layer < shape.n_layers)})
        why = f"layers {_listed(missing)} are not among collect.layers {settings.layers}"
        yield Fault(setting, value, why, f"set collect.layers={every}, or leave it out")


def sae_layers(settings: Settings) -> list[int]:
    """Layers that have an SAE."""
    saes = settings.saes
    return sorted({*saes.layers, *saes.paths, *saes.releases})


def _listed(layers: list[int]) -> str:
    return ", ".join(map(str, layers))
