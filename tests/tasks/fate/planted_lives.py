"""A tiny model in which it is known what becomes of three features, with SAEs, operators and evaluations in the warehouse."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import ato.models
from ato.saes import SparseAutoencoder
from flows.settings import Settings
from tasks.collect.task import collect_residuals
from tasks.engine.model_cache import language_model
from tasks.engine.stage import Stage
from tasks.evaluate.task import evaluate_operators
from tasks.fate.stages import FatePlan
from tasks.operators.task import fit_operators
from tests.flows.tiny_study import tiny_settings
from tests.tasks.scored_study import add_sae
from tests.warehouse.small_warehouse import row
from warehouse.storage.warehouse import Warehouse

D = 16
LAYERS = (1, 2, 3)
CARRIED, REWRITTEN, COMPUTED = 0, 1, 3
"""Features of the SAE at layer 3, each an axis of the residual stream, that planted blocks make what they are called."""
SOURCE_OF_REWRITTEN = 2
"""The axis at layer 1 that becomes ``REWRITTEN``."""


class Turned(torch.nn.Module):
    """Block 2: axes 1 and 2 are turned into one another, axis 3 becomes a wave of what it was, all others stay."""

    def forward(self, hidden_states, *args, **kwargs):
        out = hidden_states.clone()
        out[..., 1], out[..., 2] = hidden_states[..., 2], -hidden_states[..., 1]
        out[..., 3] = torch.sin(40 * hidden_states[..., 3])
        return out


class Unchanged(torch.nn.Module):
    """Block 3: the identity."""

    def forward(self, hidden_states, *args, **kwargs):
        return hidden_states


def plant(patch: pytest.MonkeyPatch) -> None:
    """Let every model that is loaded have the planted blocks, behind its own self-check."""
    load = ato.models.load_model

    def planted(*args, **options):
        model = load(*args, **options)
        model.blocks[2], model.blocks[3] = Turned(), Unchanged()
        return model

    patch.setattr(ato.models, "load_model", planted)
    language_model.cache_clear()


def axes(layer: int) -> SparseAutoencoder:
    """An SAE whose features are the axes of the residual stream, each active where it is positive."""
    weights = torch.eye(D), torch.zeros(D), torch.eye(D), torch.zeros(D)
    return SparseAutoencoder("standard", *weights, metadata={"hook_name": f"blocks.{layer}.hook_resid_post"})


def planted_settings(folder: Path) -> Settings:
    """Operators from layers 1 and 2 to 3, and from 1 to 2."""
    base = tiny_settings(folder).model_dump(exclude_unset=True)
    base["collect"] |= {"n_tokens": 8_000}
    base["saes"] |= {"layers": list(LAYERS)}
    base["operators"] |= {
        "source_layers": [1, 2],
        "leaps": [1, 2],
        "target_layers": [2, 3],
        "alphas": [1e-4, 1e-2, 1.0],
        "methods": ["ridge", "identity", "permuted"],
        "train_fractions": [],
        "register_operators": False,
    }
    return Settings.model_validate(base | {"fate": {"n_features": 4, "n_sequences": 40, "n_tokens": 3}})


def planted_study(folder: Path) -> SimpleNamespace:
    """Everything that stage ``fate`` reads, in the warehouse of this process."""
    settings, warehouse = planted_settings(folder), Warehouse()
    collection = collect_residuals.fn(settings.model, settings.collecting, settings.layers, settings.operators)
    saes = [add_sae(warehouse, collection, layer, axes(layer)) for layer in LAYERS]
    stage = Stage(warehouse, "features", "stats", settings={}, inputs=saes, collection=collection)
    with stage:
        for sae, layer in zip(saes, LAYERS, strict=True):
            stats = [
                row(
                    "feature_stats",
                    collection=collection,
                    sae=sae,
                    layer=layer,
                    feature_id=f,
                    n_active=100 - f,
                    n_tokens=200,
                )
                | {"activation_rate": (100 - f) / 200}
                for f in range(D)
            ]
            stage.write("feature_stats", stats, sae=sae)
    study = settings.study(collection)
    fit_operators.fn(study, saes, settings.operators)
    evaluate_operators.fn(study, saes, settings.operators, settings.evaluate)
    plan = FatePlan(settings.operators, settings.evaluate, settings.fate)
    return SimpleNamespace(settings=settings, collection=collection, saes=saes, study=study, plan=plan)
