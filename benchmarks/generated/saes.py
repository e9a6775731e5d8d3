"""An SAE with its training, and its features with statistics, scores, examples and explanations."""

import numpy as np

from benchmarks.generated.rows import N_SEQUENCES, STARTED, Study, Write

N_EXPLAINED, N_EXAMPLES, WINDOW = 20, 12, 21
"""One of so many features is explained, each with so many windows of so many tokens."""
N_TRAINING_STEPS = 400


def sae_stages(write: Write, rng: np.random.Generator, layer: int, n: int) -> Study:
    sae, ids = f"sae-layer{layer:02d}", np.arange(n, dtype=np.int32)
    own = {"sae": sae, "layer": layer}
    counts = rng.integers(0, 1_000, n)
    place = rng.permutation(n)
    words = [[f"{word}" for word in row] for row in rng.integers(0, 50_000, (n, 10))]
    explained = ids[place < n // N_EXPLAINED]
    steps, curve = np.arange(N_TRAINING_STEPS) * 50, np.linspace(3, 6, N_TRAINING_STEPS)
    shown = np.repeat(explained, N_EXAMPLES)
    windows = [[f" word{word}" for word in row] for row in rng.integers(0, 5_000, (len(shown), WINDOW))]
    return {
        ("saes", f"saes-{layer}"): [
            write(
                "saes",
                1,
                sae,
                **own,
                d_sae=n,
                trusted=True,
                l0=32.0,
                architecture="topk",
                source="trained",
                site="resid_post",
                n_tokens=10_000,
                n_documents=250,
                fvu=0.2,
                fvu_low=0.19,
                fvu_high=0.21,
                ce_recovered=0.98,
                dead_share=0.01,
                ce_recovered_low=0.97,
                ce_recovered_high=0.99,
                ce_clean=3.0,
                ce_spliced=3.2,
                ce_zero=13.0,
            ),
            write(
                "sae_training",
                N_TRAINING_STEPS,
                sae,
                sae=sae,
                architecture="topk",
                step=steps,
                tokens=steps * 1024,
                mse=1_000 * np.exp(-curve),
                fvu=np.exp(-curve),
                l0=32.0,
                dead_share=0.01,
                lr=1e-3,
                n_resampled=0,
                fvu_held_out=None,
            ),
        ],
        ("features", f"features-{layer}"): [
            write(
                "feature_stats",
                n,
                sae,
                **own,
                feature_id=ids,
                n_tokens=10_000,
                n_active=counts,
                activation_rate=counts / 1e4,
                mean_activation=rng.random(n),
                max_activation=rng.random(n) + 1,
            )
        ],
        ("feature_scores", f"scores-{layer}"): [
            write(
                "feature_scores",
                n,
                sae,
                **own,
                scoring=f"scores-{layer}",
                feature_id=ids,
                n_active=counts,
                activation_rate=counts / 1e4,
                mean_activation=rng.random(n),
                max_activation=rng.random(n) + 1,
                score=rng.random(n),
                pre_score=rng.random(n),
                rank=(place + 1).astype(np.int32),
                selected=place < n // N_EXPLAINED,
                top_tokens=words,
                bottom_tokens=words,
                token_entropy=rng.random(n),
                top_logits=list(rng.random((n, 10))),
                bottom_logits=list(-rng.random((n, 10))),
                focus_z=rng.random(n),
                redundancy=rng.random(n),
                causal_effect=rng.random(n),
            ),
            write(
                "feature_examples",
                len(shown),
                sae,
                **own,
                scoring=f"scores-{layer}",
                feature_id=shown,
                kind="top",
                rank=np.tile(np.arange(1, N_EXAMPLES + 1, dtype=np.int32), len(explained)),
                sequence_id=rng.integers(0, N_SEQUENCES, len(shown)),
                position=WINDOW // 2,
                activation=rng.random(len(shown)),
                tokens=windows,
                activations=list(rng.random((len(shown), WINDOW), dtype=np.float32)),
            ),
        ],
        ("explain", f"explain-{layer}"): [
            write(
                "explanations",
                len(explained),
                sae,
                **own,
                feature_id=explained,
                explanation_id="1",
                aligned=True,
                source="neuronpedia",
                description="words about a subject that is described here",
                fetched_at=STARTED,
            )
        ],
    }
