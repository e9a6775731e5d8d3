"""A collection whose residuals are known exactly, and an SAE whose features fire on a word, at places, and never."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from ato.saes import SparseAutoencoder
from ato.saes.transcoder import Transcoder
from ato.saes.transcoder_files import save_transcoder_folder
from flows.settings import Settings
from tasks.collect.sources import residual_source
from tasks.collect.task import collect_residuals
from tasks.engine.model_cache import language_model
from tasks.engine.stage import Stage
from tests.flows.tiny_study import tiny_settings
from tests.tasks.scored_study import add_sae
from tests.tiny_models import save_identity_model
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

LAYER = 2
WORD, PLACES, DEAD, LETTER = range(4)
"""Features: one fires on the word ``quartz``, one at two positions whatever stands there, one never, one on a letter."""
POSITIONS = (9, 23)
KINDS = {"law": ("congress", "law", "states"), "war": ("war", "peace", "trade")}
D_MODEL = 128
LABEL = {
    "features": {LAYER: [WORD, PLACES, DEAD]},
    "n_trials": 10,
    "windows": {"n_top": 8, "n_held_out_top": 6, "n_held_out_random": 14, "n_silent": 12, "n_neighbours": 2},
}


def planted_settings(folder: Path, **label: object) -> Settings:
    """Settings of a study of 150 short documents of two kinds; blocks of the model add nothing to the embedding."""
    if not (folder / "model").exists():
        save_identity_model(folder / "model", "gpt2", n_layers=3, d_model=D_MODEL)
        _write_corpus(folder / "corpus")
    base = tiny_settings(folder).model_dump(exclude_unset=True)
    collect = {
        "corpus": str(folder / "corpus"),
        "n_tokens": 30_000,
        "seq_len": 64,
        "max_sequences_per_document": 3,
        "skip_first": 0,
        "max_norm_multiple": None,
    }
    return Settings.model_validate(
        {
            "model": base["model"],
            "collect": base["collect"] | collect,
            "saes": base["saes"] | {"layers": [LAYER]},
            "operators": {"source_layers": [0], "leaps": [LAYER]},
            "label": LABEL | label,
        }
    )


def collected(settings: Settings) -> tuple[str, str]:
    """Keys of the collection and of the planted SAE, put into the warehouse of this process."""
    s = settings
    collection = collect_residuals.fn(s.model, s.collecting, s.layers, s.operators)
    return collection, add_sae(Warehouse(), collection, LAYER, planted_sae(s, collection), l0=0.1)


def add_transcoder(warehouse: Warehouse, collection: str) -> str:
    """Put a random transcoder from MLP input to output into the warehouse, as a study does; returns its key."""
    rng = np.random.default_rng(1)
    shapes = ((D_MODEL, 6), (6,), (6, D_MODEL), (D_MODEL,))
    weights = [torch.tensor(rng.standard_normal(shape), dtype=torch.float32) for shape in shapes]
    transcoder = Transcoder("standard", *weights)
    own = {"weights": transcoder.weights_hash}
    stage = Stage(warehouse, "sae_study_quality", "coder", settings=own, inputs=[collection], collection=collection)
    row = {
        "collection": collection,
        "sae": stage.key,
        "label": "random transcoder",
        "source": "trained",
        "layer": LAYER,
        "site": "mlp_in",
        "target_site": "mlp_out",
        "has_skip": False,
        "architecture": "standard",
        "d_sae": 6,
        "path": f"artifacts/studied_saes/{stage.key}",
        "weights_hash": transcoder.weights_hash,
    }
    counts = [{"collection": collection, "sae": stage.key, "feature_id": f, "n_active": f} for f in range(6)]
    with stage:
        save = partial(save_transcoder_folder, transcoder, layer=LAYER)
        stage.add(*warehouse.publish_artifact_folder(lambda folder: save(folder=folder), "studied_saes", stage.key))
        stage.write("studied_saes", [{c.name: row.get(c.name) for c in TABLES["studied_saes"].columns}])
        stage.write("studied_features", [one | {"activation_rate": 0.1} for one in counts], sae=stage.key)
    return stage.key


def planted_sae(settings: Settings, collection: str) -> SparseAutoencoder:
    """A JumpReLU SAE that reads tokens and positions off the residuals without error: they are sums of embeddings."""
    blocks = list(residual_source(settings.study(collection)).blocks([LAYER]))
    x = torch.cat([block.residuals[LAYER] for block in blocks]).double().numpy()
    token = np.concatenate([block.token_id for block in blocks])
    position = np.concatenate([block.position for block in blocks])
    q, h = language_model(settings.model).tokenizer("qh", add_special_tokens=False)["input_ids"]
    wanted = [token == q, np.isin(position, POSITIONS), np.zeros(len(x), dtype=bool), token == h]
    targets = np.stack(wanted, axis=1).astype(float)
    found, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), targets, rcond=1e-9)
    assert np.abs(np.column_stack([x, np.ones(len(x))]) @ found - targets).max() < 0.1
    encoder, bias = found[:-1], found[-1]
    decoder = np.random.default_rng(0).standard_normal((len(wanted), x.shape[1]))
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    arrays = (encoder, bias, decoder, np.zeros(x.shape[1]))
    weights = (torch.tensor(array, dtype=torch.float32) for array in arrays)
    return SparseAutoencoder("jumprelu", *weights, threshold=torch.full((len(wanted),), 0.5))


def _write_corpus(folder: Path, n_documents: int = 75, words: int = 60) -> None:
    rng = np.random.default_rng(0)
    for kind, own in KINDS.items():
        (folder / kind).mkdir(parents=True)
        for number in range(n_documents):
            drawn = rng.choice((*own, "the", "of", "and", "union"), words)
            drawn[rng.random(words) < 0.04] = "quartz"
            (folder / kind / f"{number:03d}.txt").write_text(" ".join(drawn))
