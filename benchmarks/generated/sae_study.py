"""The stages of a generated study of many SAEs."""

from typing import Any

import numpy as np

from benchmarks.generated.drawn_rows import Rows, every, names_of, numbered_names
from benchmarks.generated.pairs import TARGETS

N_STUDIED, N_SNAPSHOTS, N_BINS = 8, 10, 40
METRICS = ("fvu", "ce_recovered", "l0", "dead_share", "kl", "high_frequency_share", "shrinkage", "decoder_redundancy")


def sae_study_stages(n: int) -> Any:
    """A study of SAEs of ``n`` features, two of them looked at."""
    saes = [f"studied-{i}" for i in range(N_STUDIED)]
    for i, sae in enumerate(saes):
        architecture = ("topk", "batchtopk")[i % 2]
        own = {
            "sae": sae,
            "label": f"{architecture} k=32 seed {i // 2}",
            "architecture": architecture,
            "source": "trained",
        }
        own |= {
            "layer": TARGETS[0],
            "site": "resid_post",
            "target_site": None,
            "has_skip": False,
            "d_sae": n,
            "k": 32,
            "seed": i // 2,
        }
        yield "sae_study_weights", f"weights-{sae}", (), [("studied_saes", 1, own)]
        names = np.array(METRICS, dtype=object)
        strata, readers, widths = every(8, 3, 3)
        probed = {
            "sae": sae,
            "stratum": "topic",
            "value": numbered_names("topic", strata),
            "k": names_of((1, 5, 25), widths),
        }
        probed["reader"] = names_of(("best", "random", "dense"), readers)
        yield (
            "sae_study_quality",
            f"quality-{sae}",
            (),
            [
                ("sae_quality", len(names), {"sae": sae, "metric": names, "detail": ""}),
                ("sae_density", N_BINS, {"sae": sae} | _bins(np.arange(N_BINS))),
                ("studied_features", n, {"sae": sae, "feature_id": np.arange(n)}),
                ("sae_probing", len(strata), probed),
            ],
        )
        if i < 2:
            yield "sae_study_looks", f"looks-{sae}", (), _looks(sae, n)
    others = {"study": "study", "sae": saes[0], "other_sae": np.array(saes[1:], dtype=object), "layer": TARGETS[0]}
    looked_at = np.arange(N_STUDIED) < 2
    yield (
        "sae_studies",
        "study",
        (),
        [
            ("sae_studies", N_STUDIED, {"study": "study", "sae": np.array(saes, dtype=object), "looked_at": looked_at}),
            ("sae_agreement", N_STUDIED - 1, others),
            (
                "feature_families",
                n,
                {"study": "study", "sae": saes[0], "source_sae": saes[1], "feature_id": np.arange(n)},
            ),
        ],
    )


def _looks(sae: str, n: int) -> Rows:
    steps, bins = every(N_SNAPSHOTS, N_BINS)
    own = {"sae": sae, "feature_id": np.arange(n)}
    seen = {f"{what}_step": np.arange(n) % N_SNAPSHOTS for what in ("emerged", "born")} | {"died_step": None}
    clusters = {"method": "kmeans", "cluster": np.arange(n) % 40, "cluster_size": n // 40 + 1}
    return [
        (
            "sae_snapshots",
            N_SNAPSHOTS,
            {"sae": sae, "step": np.arange(N_SNAPSHOTS), "tokens": np.arange(N_SNAPSHOTS) * 1_000},
        ),
        ("sae_snapshot_density", len(steps), {"sae": sae, "step": steps} | _bins(bins)),
        ("feature_emergence", n, own | seen),
        ("feature_clusters", n, own | clusters),
        ("feature_map", n, own | {"method": "umap"}),
        ("feature_attribution", n, own),
    ]


def _bins(number: np.ndarray) -> dict[str, Any]:
    return {"bin": number, "log10_rate_low": -6 + number / 10, "log10_rate_high": -5.9 + number / 10}
