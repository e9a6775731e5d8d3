"""A collected tiny study with two random SAEs in the warehouse: what feature scores are made from."""

from pathlib import Path

import numpy as np
import torch

from ato.saes import SparseAutoencoder, save_sae
from flows.settings import Settings
from tasks.collect.task import collect_residuals
from tasks.engine.stage import Stage
from tasks.settings import FeatureSettings
from tests.flows.tiny_study import tiny_settings
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

D_SAE = 24
FEATURES = {
    "n_tokens": 3_000,
    "top_positions": 20,
    "candidate_percent": 50.0,
    "top_percent": 20.0,
    "ablation_sequences": 2,
    "ablation_tokens": 8,
    "n_lens_tokens": 3,
    "n_examples": 3,
    "n_random": 2,
    "n_quantiles": 2,
    "context_before": 4,
    "context_after": 3,
}


def collected(folder: Path, **collect: object) -> tuple[Settings, str]:
    """Settings and the key of a tiny collection in the warehouse of this process."""
    settings = tiny_settings(folder, collect=collect)
    settings = settings.model_copy(update={"features": FeatureSettings.model_validate(FEATURES)})
    return settings, collect_residuals.fn(settings.model, settings.collecting, settings.layers, settings.operators)


def random_sae(seed: int, d: int = 16) -> SparseAutoencoder:
    """A TopK SAE of random directions whose feature 3 never fires."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(D_SAE, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    b_enc = np.zeros(D_SAE)
    b_enc[3] = -1e6
    weights = (torch.tensor(w, dtype=torch.float32) for w in (directions.T, b_enc, directions, np.zeros(d)))
    return SparseAutoencoder("topk", *weights, k=4)


def add_sae(warehouse: Warehouse, collection: str, layer: int, sae: SparseAutoencoder, l0: float = 4.0) -> str:
    """Put an SAE into the warehouse as the stage ``saes`` does; returns its key."""
    own = {"weights": sae.weights_hash, "layer": layer}
    stage = Stage(warehouse, "saes", f"random-{layer}", settings=own, inputs=[collection], collection=collection)
    row = {
        "collection": collection,
        "sae": stage.key,
        "layer": layer,
        "site": "resid_post",
        "source": "random",
        "architecture": sae.architecture,
        "d_sae": sae.d_sae,
        "n_tokens": 1,
        "n_documents": 1,
        "l0": l0,
        "dead_share": 0.0,
        "trusted": True,
        "path": f"artifacts/saes/{stage.key}",
        "weights_hash": sae.weights_hash,
    }
    with stage:
        stage.add(*warehouse.publish_artifact_folder(lambda folder: save_sae(sae, folder), "saes", stage.key))
        stage.write("saes", [{c.name: row.get(c.name) for c in TABLES["saes"].columns}])
    return stage.key
