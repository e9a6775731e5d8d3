"""A whole study on a tiny random model and a small corpus: settings for tests that run flows."""

from pathlib import Path
from typing import Any

import numpy as np

from flows.settings import Settings
from tests.tiny_models import save_tiny_model

WORDS = ("the", "of", "union", "states", "and", "people", "congress", "year", "nation", "law", "peace", "war", "trade")


def write_corpus(path: Path, n_documents: int = 60, words: int = 120) -> Path:
    """A jsonl corpus of documents of random words."""
    import json

    rng = np.random.default_rng(0)
    lines = (json.dumps({"text": " ".join(rng.choice(WORDS, words))}) for _ in range(n_documents))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def tiny_settings(folder: Path, **changes: dict[str, Any]) -> Settings:
    """Settings of a study that runs in seconds; changes are per stage."""
    if not (folder / "model").exists():
        save_tiny_model(folder / "model", n_layers=5, d_model=16)
        write_corpus(folder / "corpus.jsonl")
    stages: dict[str, dict[str, Any]] = {
        "model": {"name": str(folder / "model"), "dtype": "float32", "device": "cpu"},
        "collect": {
            "corpus": str(folder / "corpus.jsonl"),
            "n_tokens": 12_000,
            "seq_len": 32,
            "min_len": 8,
            "n_folds": 3,
            "max_sequences_per_document": 6,
            "shard_sequences": 40,
            "batch_size": 8,
            "max_norm_multiple": 10.0,
        },
        "saes": {
            "layers": [2, 3],
            "d_sae": 24,
            "k": 4,
            "n_tokens": 4_096,
            "batch_size": 256,
            "buffer_rows": 2_048,
            "judge_sequences": 6,
        },
        "operators": {"source_layers": [0, 1], "leaps": [1, 2], "rank": 4, "alphas": [0.1, 1.0, 10.0]},
        "features": {
            "n_tokens": 4_000,
            "top_positions": 20,
            "candidate_percent": 40,
            "top_percent": 10,
            "ablation_sequences": 2,
            "ablation_tokens": 16,
            "n_examples": 3,
            "n_random": 2,
            "n_quantiles": 2,
        },
        "evaluate": {"ranks": [1, 4, 16]},
        "causal": {"positions": ["3,7", "5", "all"], "n_sequences": 6, "n_features": 1, "batch_size": 4},
    }
    names = [*stages, *(name for name in changes if name not in stages)]
    return Settings.model_validate({name: stages.get(name, {}) | changes.get(name, {}) for name in names})
