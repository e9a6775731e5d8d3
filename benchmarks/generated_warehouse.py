"""A warehouse as large as many finished studies: the rows of one are made up, those of all others are links to its files."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ato.causal.intervention_names import INTERVENTIONS
from ato.operators.methods import DEFAULT_METHODS as METHODS
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import FileRecord, Warehouse
from warehouse.tables import TABLES

SOURCES, TARGETS = (8, 10, 12, 14, 16), (18, 20)
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
D_MODEL, N_SEQUENCES, N_EXPLAINED = 2_048, 4_000, 20
ALPHAS, N_FOLDS = 10.0 ** np.arange(-1, 7), 5
POSITIONS = ("10,50,70,100,120", "11,51,71,101,121", "12,52,72,102,122")
N_EDITED = 60
"""Sequences of an intervention."""
N_TRAINING_STEPS, N_EXAMPLES, WINDOW, N_CHECKS = 400, 12, 21, 10
BENCHMARKS, N_BENCHMARK_RUNS = ("moments", "fitting", "sql"), 5
STARTED = datetime(2026, 1, 1, tzinfo=UTC)

Study = dict[tuple[str, str], list[FileRecord]]
"""(stage, key) -> what it wrote."""


def write_study(warehouse: Warehouse, n_features: int) -> Study:
    """One study through the warehouse's own writer: 10 pairs, 50 operators, two SAEs, 50 x ``n_features`` scores.

    Beside it lie the figures of some runs of benchmarks, which belong to no study.
    """
    collection, rng = study_key(0), np.random.default_rng(0)

    def write(table: str, n: int, part: str, **columns: Any) -> FileRecord:
        extra = {name: columns[name] for name in TABLES[table].partition[1:]}
        return warehouse.write_rows(table, _rows(table, n, columns), part, collection=collection, **extra)

    study: Study = {
        ("collect", collection): [
            write(
                "collections",
                1,
                "c",
                layers=[list(SOURCES + TARGETS)],
                created_at=STARTED,
                model="a model of two billion",
                corpus="a corpus",
                n_documents=N_SEQUENCES // 4,
                n_sequences=N_SEQUENCES,
                n_tokens=N_SEQUENCES * 128,
                n_kept=N_SEQUENCES * 127,
                dropped_by_reason=[[("first_position", N_SEQUENCES)]],
                d_model=D_MODEL,
                n_layers=26,
                seq_len=128,
                dtype="bfloat16",
                site="resid_post",
                settings="{}",
                median_norm=[list(np.linspace(50, 300, len(SOURCES + TARGETS)))],
            ),
            write(
                "sequences",
                N_SEQUENCES,
                "c",
                sequence_id=np.arange(N_SEQUENCES),
                document=np.arange(N_SEQUENCES) // 4,
                document_id=[f"document-{i // 4:011d}" for i in range(N_SEQUENCES)],
                n_tokens=128,
                split=[("train", "train", "val", "test")[i // 4 % 4] for i in range(N_SEQUENCES)],
                token_ids=list(rng.integers(0, 50_000, (N_SEQUENCES, 128), dtype=np.int32)),
                text="word " * 128,
            ),
        ]
    }
    for target in TARGETS:
        study |= _sae_stages(write, rng, target, n_features)
        for source in SOURCES:
            study |= _pair_stages(write, rng, source, target, n_features)
    for stage, key in study:
        study[stage, key].append(
            write(
                "quality_results",
                N_CHECKS,
                f"{stage}-{key}",
                stage=stage,
                key=key,
                table_name=stage,
                n_checked=n_features,
                expectation=[f"expectation {i}" for i in range(N_CHECKS)],
                success=[i > 0 for i in range(N_CHECKS)],
                n_unexpected=[int(i == 0) for i in range(N_CHECKS)],
                examples='[{"feature_id": 7}]',
            )
        )
    _commit(warehouse, study, 0)
    for run in range(N_BENCHMARK_RUNS):
        _write_benchmarks(warehouse, rng, run)
    return study


def add_studies(warehouse: Warehouse, study: Study, numbers: Iterable[int]) -> None:
    """The same study once more for each number, as a collection of its own whose files are hard links."""

    def add(number: int) -> None:
        linked = {key: [_linked(warehouse, file, number) for file in files] for key, files in study.items()}
        _commit(warehouse, linked, number)

    with ThreadPoolExecutor(16) as threads:  # each manifest waits for the disk
        list(threads.map(add, numbers))


def study_key(number: int) -> str:
    """Key of the collection of a study, by number."""
    return f"model-corpus-{number:08x}"


def _linked(warehouse: Warehouse, file: FileRecord, number: int) -> FileRecord:
    path = file.path.replace(study_key(0), study_key(number))
    target = Path(warehouse.root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(Path(warehouse.root, file.path), target)
    return replace(file, path=path)


def _commit(warehouse: Warehouse, study: Study, number: int) -> None:
    for order, ((stage, key), files) in enumerate(study.items()):
        commit(
            warehouse,
            stage,
            f"{key}-{number}" if number else key,
            collection=study_key(number),
            settings={"stage": stage, "setting": list(range(20))},
            files=files,
            seconds=1.0,
            started_at=STARTED + timedelta(minutes=order),
        )


def _write_benchmarks(warehouse: Warehouse, rng: np.random.Generator, run: int) -> None:
    """Figures of one run of each benchmark."""
    measured, n = STARTED + timedelta(days=run), 20
    for benchmark in BENCHMARKS:
        key = f"benchmark-{benchmark}-{run}"
        ours, what = rng.random(n) + 1, [f"figure {i}" for i in range(n)]
        columns = _rows(
            "benchmark_results",
            n,
            {
                "run": key,
                "benchmark": benchmark,
                "what": what,
                "unit": "s",
                "ours": ours,
                "against": "a peer",
                "reference": 2.0,
                "ratio": 2 / ours,
                "target": 1.0,
                "bound": "at least",
                "met": list(2 / ours >= 1),
                "measured_at": measured,
                "machine": "{}",
            },
        )
        file = warehouse.write_rows("benchmark_results", columns, key, benchmark=benchmark)
        commit(
            warehouse,
            "benchmark",
            key,
            collection="benchmarks",
            settings={"benchmark": benchmark},
            files=[file],
            seconds=1.0,
            started_at=measured,
        )


def _rows(table: str, n: int, columns: dict[str, Any]) -> dict[str, Any]:
    """Columns of ``n`` rows: those given and declared (one value stands for all rows), else NULL or the least allowed."""
    filled = {c.name: None if c.nullable else _least(c.type, c.minimum) for c in TABLES[table].columns if c.type}
    return {
        name: values if isinstance(values, (list, np.ndarray, pa.Array)) and len(values) == n else [values] * n
        for name, values in (filled | columns).items()
        if name in filled and name != "collection"
    }


def _least(type_: pa.DataType, minimum: float | None) -> Any:
    if pa.types.is_string(type_):
        return ""
    if pa.types.is_list(type_) or pa.types.is_map(type_):
        return []
    if pa.types.is_boolean(type_):
        return False
    return float(minimum or 0) if pa.types.is_floating(type_) else int(minimum or 0)


def _sae_stages(write: Any, rng: np.random.Generator, layer: int, n: int) -> Study:
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


def _pair_stages(write: Any, rng: np.random.Generator, source: int, target: int, n: int) -> Study:
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
    verdict = np.select([unscored, r2 > 0.8, r2 < 0.2], ["undetermined", "transported", "synthesised"], "undetermined")
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


def _causal_files(write: Any, rng: np.random.Generator, name: str, keys: dict[str, Any]) -> list[FileRecord]:
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
