"""Whole studies: the rows of one are made up, those of all others are links to its files."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.generated.benchmark_runs import write_benchmarks
from benchmarks.generated.pairs import D_MODEL, SOURCES, TARGETS, pair_stages
from benchmarks.generated.rows import N_SEQUENCES, STARTED, Study, rows_of
from benchmarks.generated.saes import sae_stages
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import FileRecord, Warehouse
from warehouse.tables import TABLES

N_CHECKS = 10
"""Quality checks of a stage."""
N_BENCHMARK_RUNS = 5


def write_study(warehouse: Warehouse, n_features: int) -> Study:
    """One study through the warehouse's own writer: 10 pairs, 50 operators, two SAEs, 50 x ``n_features`` scores.

    Beside it lie the figures of some runs of benchmarks, which belong to no study.
    """
    collection, rng = study_key(0), np.random.default_rng(0)

    def write(table: str, n: int, part: str, **columns: Any) -> FileRecord:
        extra = {name: columns[name] for name in TABLES[table].partition[1:]}
        return warehouse.write_rows(table, rows_of(table, n, columns), part, collection=collection, **extra)

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
        study |= sae_stages(write, rng, target, n_features)
        for source in SOURCES:
            study |= pair_stages(write, rng, source, target, n_features)
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
        write_benchmarks(warehouse, rng, run)
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
