"""A pair of layers: its operators, what they transport, how efficiently, and what that costs the model."""

from typing import Any

import numpy as np
import pyarrow as pa

from ato.causal.intervention_names import INTERVENTIONS
from ato.operators.methods import DEFAULT_METHODS as METHODS
from benchmarks.generated.rows import Study, Write
from warehouse.storage.warehouse import FileRecord

SOURCES, TARGETS = (8, 10, 12, 14, 16), (18, 20)
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
D_MODEL = 2_048
ALPHAS, N_FOLDS = 10.0 ** np.arange(-1, 7), 5
POSITIONS = ("10,50,70,100,120", "11,51,71,101,121", "12,52,72,102,122")
N_EDITED = 60
"""Sequences of an intervention."""


def pair_stages(write: Write, rng: np.random.Generator, source: int, target: int, n: int) -> Study:
    name = f"L{source:02d}-k{target - source:02d}"
    keys = {"source_layer": source, "leap": target - source, "target_layer": target, "position_policy": "same"}
    n_operators, m = len(METHODS), len(METHODS) * n
    operators = [f"{method}-{name}" for method in METHODS]
    modes = np.arange(1, D_MODEL + 1, dtype=np.int32)
    falling = rng.random((n_operators, 1)) * modes**-0.5
    per_mode = [
        write(
            "operator_spectra",
            D_MODEL,
            f"{operator}",
            **keys,
            operator=operator,
            method=method,
            mode=modes,
            singular_value=values,
            eigenvalue_real=values,
            eigenvalue_imag=rng.normal(size=D_MODEL),
        )
        for operator, method, values in zip(operators, METHODS, falling)
    ]
    scores = rng.random((n_operators, 3))
    intervals = {
        f"{column}_{end}": scores[:, i] + shift
        for i, column in enumerate(("r2_test", "skill", "r2_weighted"))
        for end, shift in (("low", -0.01), ("high", 0.01))
    }
    r2 = np.minimum(rng.normal(0.5, 0.3, m), 1)
    unscored = rng.random(m) < 0.1
    measured = {
        column: pa.array(r2 + shift, mask=unscored)
        for column, shift in (("r2", 0), ("r2_low", -0.1), ("r2_high", 0.1), ("r2_all_tokens", -0.05), ("skill", -0.2))
    }
    others = (
        "pearson",
        "mse",
        "calibration",
        "rms_ratio",
        "mean_abs_ratio",
        "mean_ratio",
        "mad_ratio",
        "mean_relative_error",
    )
    measured |= {column: pa.array(rng.random(m), mask=unscored) for column in others}
    verdict = np.select([unscored, r2 > 0.8, r2 < 0.2], ["undetermined", "transported", "computed"], "undetermined")
    curve = np.linspace(0.1, 0.9, len(RANKS))
    return {
        ("operators", name): [
            write(
                "operators",
                n_operators,
                name,
                **keys,
                operator=operators,
                method=list(METHODS),
                r2_test=scores[:, 0],
                r2_val=scores[:, 0],
                r2_train=scores[:, 0],
                skill=scores[:, 1],
                r2_weighted=scores[:, 2],
                alpha=100.0,
                n_train=400_000,
                n_test=100_000,
                n_test_documents=250,
                path=f"artifacts/operators/{name}.safetensors",
                **{end: np.minimum(values, 1) for end, values in intervals.items()},
            ),
            write(
                "operator_cv",
                len(ALPHAS) * N_FOLDS,
                name,
                **keys,
                operator=operators[0],
                method=METHODS[0],
                alpha=np.repeat(ALPHAS, N_FOLDS),
                fold=np.tile(np.arange(N_FOLDS, dtype=np.int32), len(ALPHAS)),
                r2=0.6 - 0.01 * rng.random(len(ALPHAS) * N_FOLDS),
            ),
            *per_mode,
        ],
        ("evaluate", f"features-{name}"): [
            write(
                "feature_transport",
                m,
                f"features-{name}",
                **keys,
                **measured,
                evaluation=f"features-{name}",
                operator=list(np.repeat(operators, n)),
                method=list(np.repeat(METHODS, n)),
                sae=f"sae-layer{target:02d}",
                feature_id=np.tile(np.arange(n, dtype=np.int32), n_operators),
                sae_trusted=True,
                n_active=rng.integers(0, 1_000, m),
                n_documents=rng.integers(0, 100, m),
                activation_rate=rng.random(m),
                ceiling=rng.random(m),
                ceiling_all_tokens=rng.random(m),
                verdict=verdict.tolist(),
            )
        ],
        ("evaluate", f"ranks-{name}"): [
            write(
                "efficiency",
                len(RANKS),
                f"ranks-{name}",
                **keys,
                evaluation=f"ranks-{name}",
                d_kept=D_MODEL,
                rank=np.array(RANKS, dtype=np.int32),
                ceiling_in_sample=curve,
                ceiling_held_out=curve,
                r2_rrr=curve,
                efficiency=curve,
                ceiling_null=curve / 10,
                n_train=400_000,
                n_test=100_000,
                n_over_d=200.0,
            ),
            write("subspaces", 1, f"ranks-{name}", **keys, evaluation=f"ranks-{name}"),
            write(
                "canonical_correlations",
                D_MODEL,
                f"ranks-{name}",
                **keys,
                evaluation=f"ranks-{name}",
                mode=modes,
                rho_in_sample=modes**-0.2,
                rho_held_out=modes**-0.25,
                rho_null=modes**-0.5 / 10,
            ),
        ],
        ("evaluate", f"maps-{name}"): [
            write(
                "compositions",
                3,
                f"maps-{name}",
                **keys,
                evaluation=f"maps-{name}",
                method="ridge",
                middle_layer=np.arange(source + 1, source + 4, dtype=np.int32),
            ),
            write(
                "scaling",
                5,
                f"maps-{name}",
                **keys,
                evaluation=f"maps-{name}",
                method="ridge",
                fraction=np.arange(1, 6) / 5,
                fraction_asked=np.arange(1, 6) / 5,
                r2=np.arange(1, 6) / 6,
            ),
        ],
        ("causal", f"causal-{name}"): _causal_files(write, rng, name, keys),
    }


def _causal_files(write: Write, rng: np.random.Generator, name: str, keys: dict[str, Any]) -> list[FileRecord]:
    edits = [("none", ""), *((intervention, where) for intervention in INTERVENTIONS for where in POSITIONS)]
    n, m = len(edits), len(edits) * N_EDITED
    interventions, positions = map(list, zip(*edits))
    cost = rng.random(n)
    ends = {
        f"{column}{end}": base + cost + shift
        for column, base in (("log_ppl", 3), ("delta_log_ppl", 0), ("delta_edited_onwards", 0), ("kl", 0.1))
        for end, shift in (("", 0), ("_low", -0.05), ("_high", 0.05))
    }
    part, own = f"causal-{name}", keys | {"evaluation": f"causal-{name}", "method": "ridge"}
    sequences = np.tile(np.arange(N_EDITED), n)
    return [
        write(
            "causal_effects",
            n,
            part,
            **own,
            **ends,
            intervention=interventions,
            positions=positions,
            n_sequences=N_EDITED,
            n_documents=N_EDITED // 4,
        ),
        write(
            "causal_perplexity",
            m,
            part,
            **own,
            operator=f"ridge-{name}",
            intervention=list(np.repeat(interventions, N_EDITED)),
            positions=list(np.repeat(positions, N_EDITED)),
            sequence_id=sequences,
            document=sequences // 4,
            n_edited=5,
            log_ppl=3 + rng.random(m),
            log_ppl_edited_onwards=3 + rng.random(m),
            kl=rng.random(m),
        ),
    ]
