"""A study of SAEs in small, on the tiny model of ``tiny_study``."""

from pathlib import Path
from typing import Any

import numpy as np

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
    "judging": {"n_sequences": 6, "probing_k": [1], "min_documents": 5},
    "looking": {"n_clusters": 3, "map_method": "pca", "attribution_sequences": 2, "attribution_features": 4},
}


def small_study(folder: Path, **changes: Any) -> Settings:
    """Settings of a study that runs in seconds; the corpus is two folders of texts, each with words of its own."""
    if not (folder / "corpus").exists():
        write_two_kinds(folder / "corpus")
    collect = {"corpus": str(folder / "corpus"), "n_tokens": 9_000, "max_sequences_per_document": 3}
    base = tiny_settings(folder)
    whole = base.model_dump(exclude_unset=True)
    whole["collect"] |= collect
    return Settings.model_validate(whole | {"sae_study": STUDY | changes})


def write_two_kinds(folder: Path, n_documents: int = 60, words: int = 60) -> None:
    """Texts about law and texts about war: what probes of the stratum ``folder`` tell apart."""
    rng = np.random.default_rng(0)
    for kind, own in (("law", ("congress", "law", "states")), ("war", ("war", "peace", "trade"))):
        (folder / kind).mkdir(parents=True)
        for number in range(n_documents):
            text = " ".join(rng.choice((*own, "the", "of", "and"), words))
            (folder / kind / f"{number:03d}.txt").write_text(text)


def run_study(settings: Settings) -> None:
    """The study as a plain function, on a collection that it makes if need be."""
    from tasks.collect.task import collect_residuals
    from tasks.sae_study.task import study_saes

    s = settings
    collection = collect_residuals.fn(s.model, s.collecting, s.layers, s.operators)
    study_saes.fn(s.study(collection), s.studied_saes)
