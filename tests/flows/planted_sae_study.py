"""A study of SAEs in small, on the tiny model of ``tiny_study``."""

from pathlib import Path
from typing import Any

from flows.settings import Settings
from tests.flows.tiny_study import tiny_settings

STUDY: dict[str, Any] = {
    "layers": [2],
    "architectures": ["topk", "batchtopk", "jumprelu"],
    "d_sae": [24],
    "k": [3, 6],
    "seeds": [0, 1],
    "training": {
        "n_tokens": 4_096,
        "batch_size": 256,
        "buffer_rows": 2_048,
        "checkpoint_every": 4,
        "n_snapshots": 3,
        "track": [],
    },
    "judging": {"n_sequences": 6, "probing_k": [1]},
    "looking": {"n_clusters": 3, "map_method": "pca", "attribution_sequences": 2, "attribution_features": 4},
}


def small_study(folder: Path, **changes: Any) -> Settings:
    """Settings of a study that runs in seconds."""
    return tiny_settings(folder, sae_study=STUDY | changes)
