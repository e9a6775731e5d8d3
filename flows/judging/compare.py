"""Faults of the settings of stage ``compare``."""

from collections.abc import Iterator

from ato.errors import AtoError, InputError
from ato.models.checkpoints import checkpoint_folders
from ato.models.shapes import ModelShape
from ato.operators.methods import METHODS
from flows.judging.faults import Fault
from flows.judging.layers import sae_layers
from flows.judging.models import known_shape, missing_model
from flows.settings import Settings
from warehouse.catalog.lookups import collection_row
from warehouse.storage.warehouse import Warehouse


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Something to compare with, that is there, of the same shape; a method that was fitted; an SAE that judges."""
    s, o = settings.compare, settings.operators
    if not s.models and not s.collections:
        yield Fault("compare.models", [], "there is nothing to compare with", "name models, checkpoints or collections")
    if METHODS[s.method].for_features:
        why = "an operator for the selected features of one study has no counterpart in another"
        yield Fault("compare.method", s.method, why, "use ridge")
    elif s.method not in o.methods:
        yield Fault("compare.method", s.method, "the study fits no such operator", f"use one of {', '.join(o.methods)}")
    if not {target for _, target in o.pairs} & set(having := sae_layers(settings)):
        works = f"let operators.source_layers and leaps end at {having}" if having else "name some in saes.layers"
        yield Fault("saes.layers", having, "no SAE stands where an operator ends", works)
    for key in s.collections:
        try:
            collection_row(Warehouse(), key)
        except InputError as error:
            yield Fault(
                "compare.collections", key, error.what, "`ato sql 'select collection from collections'` lists the keys"
            )
    for given in s.models:
        yield from _models(given, shape)


def _models(given: str, shape: ModelShape | None) -> Iterator[Fault]:
    try:
        names = checkpoint_folders(given)
    except AtoError as error:
        yield Fault("compare.models", given, error.what, error.cure or "check the path")
        return
    for name in names:
        yield from missing_model("compare.models", name)
        found = known_shape(name)
        if shape and found and (found.d_model, found.n_layers) != (shape.d_model, shape.n_layers):
            why = f"width {found.d_model} and {found.n_layers} blocks, the study's model has {shape.d_model} and {shape.n_layers}"
            yield Fault("compare.models", name, why, "compare models of one shape")
