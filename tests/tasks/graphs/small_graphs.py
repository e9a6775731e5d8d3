"""A tiny collection with random SAEs at three layers and operators between them: what graphs are made from."""

from pathlib import Path
from typing import Any

import numpy as np

from ato.operators import TransportOperator
from flows.settings import Settings
from tasks.collect.task import collect_residuals
from tasks.engine.stage import Stage
from tasks.graphs.task import make_graphs
from tests.flows.tiny_study import tiny_settings
from tests.tasks.scored_study import add_sae, random_sae
from tests.warehouse.small_warehouse import row
from warehouse.storage.warehouse import Warehouse

LAYERS = [1, 2, 4]
D_MODEL = 16
GRAPHS: dict[str, Any] = {
    "prompts": [
        {"text": "the law of the union"},
        {"text": "the people of the states", "targets": ["a", "e"]},
        {"text": "the law of peace", "targets": ["a"], "against": "e"},
    ],
    "max_features": 30,
    "n_ablations": 6,
    "node_threshold": 0.9,
    "supernode_cosine": 0.3,
}


def graph_settings(folder: Path, **graphs: Any) -> Settings:
    """Settings of graphs of three prompts on a tiny random model whose tokens are bytes."""
    base = tiny_settings(folder).model_dump(exclude_unset=True)
    base["collect"] |= {"n_tokens": 3_000, "store_activations": False}
    base["saes"] |= {"layers": LAYERS}
    base["operators"] |= {"source_layers": [1, 2], "leaps": [1, 2], "methods": ["ridge"], "train_fractions": []}
    return Settings.model_validate(base | {"graphs": GRAPHS | graphs})


def collected(settings: Settings) -> tuple[str, list[str]]:
    """Keys of the collection and of its SAEs, put into the warehouse of this process; operators too."""
    s, warehouse = settings, Warehouse()
    collection = collect_residuals.fn(s.model, s.collecting, s.layers, s.operators)
    saes = [add_sae(warehouse, collection, layer, random_sae(layer)) for layer in LAYERS]
    for pair in ((1, 2), (2, 4), (1, 4)):
        add_operator(warehouse, collection, *pair)
    return collection, saes


def add_operator(warehouse: Warehouse, collection: str, source: int, target: int) -> str:
    """Put a random operator near the identity into the warehouse as the stage ``operators`` does; returns its key."""
    rng = np.random.default_rng(10 * source + target)
    matrix = np.eye(D_MODEL) + 0.1 * rng.standard_normal((D_MODEL, D_MODEL))
    operator = TransportOperator(matrix, rng.standard_normal(D_MODEL), "ridge", source, target)
    own = {"pair": [source, target]}
    stage = Stage(
        warehouse, "operators", f"pair-{source}-{target}", settings=own, inputs=[collection], collection=collection
    )
    name = f"ridge-{stage.key}"
    values = {"operator": name, "source_layer": source, "target_layer": target, "leap": target - source}
    with stage:
        stage.add(warehouse.publish_artifact(operator.save, "operators", f"{name}.safetensors"))
        path = f"artifacts/operators/{name}.safetensors"
        stage.write("operators", [row("operators", **values, collection=collection, path=path)])
    return name


def graphs(settings: Settings, collection: str, saes: list[str], **changes: object) -> list[str]:
    """Keys of the graphs that the stage makes with other settings of its own."""
    changed = settings.model_validate(settings.model_dump() | {"graphs": settings.graphs.model_dump() | changes})
    return make_graphs.fn(settings.study(collection), saes, changed.graphs)
