"""Stored residuals: writes blocks to the table ``activations`` and streams them back shard by shard."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from ato.errors import DamagedFileError, InputError, LayerError
from ato.numerics.devices import to_host
from ato.residuals import Layer, ResidualBlock
from ato.residuals.blocks import check_finite
from warehouse.datasets.activations import ShardEncoder
from warehouse.datasets.attended import attended_columns
from warehouse.datasets.shard_files import KEYS, Shard, read_columns, read_sequences, read_shard
from warehouse.storage.manifests import PASSED, REBUILD, manifests
from warehouse.storage.warehouse import FileRecord, Warehouse

_WORKERS = min(4, os.cpu_count() or 1)


Pending = Callable[[], list[FileRecord]]
"""Waits until files that are written lie on the disk, publishes them and returns them, for the stage's manifest."""


def write_block(warehouse: Warehouse, collection: str, shard: int, block: ResidualBlock) -> list[FileRecord]:
    """Store a block, as ``stage_block``; returns its published files for the stage's manifest."""
    return stage_block(warehouse, collection, shard, block)()


def stage_block(warehouse: Warehouse, collection: str, shard: int, block: ResidualBlock) -> Pending:
    """Write a block: one activations file per layer, and one file of attended positions per layer that has them.

    This takes the processor: on all cores at once, since threads of a model that runs beside it would wait for one
    another. What is returned takes the disk, and nothing of the block.

    Args:
        shard: number of the block within its collection; it names the files, so a block written again replaces itself.

    Raises:
        NonFiniteError: a residual is NaN or infinite; names layer, sequence and position.
        DiskFullError: no space left.
    """

    check_finite(block)
    keys = {name: getattr(block, name) for name in KEYS}

    def columns(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        x = to_host(block.residuals[layer].detach().to(torch.float32).contiguous())  # [n, d]
        return to_host(block.norm(layer)).numpy(), x.numpy()

    encoder = ShardEncoder(keys, *columns(block.layers[0])) if block.layers else None

    def write(layer: int) -> Callable[[], FileRecord]:
        assert encoder is not None  # there is a layer
        parts = encoder.parts(*columns(layer))
        return warehouse.stage_encoded(
            "activations", parts, block.n, f"{shard:05d}", collection=collection, layer=layer
        )

    def write_attended(layer: int) -> FileRecord:
        rows = attended_columns(block, layer)
        return warehouse.write_rows("attended", rows, f"{shard:05d}", collection=collection, layer=layer)

    # Encoding, hashing and copying to the disk's cache all leave the interpreter: layers overlap.
    with ThreadPoolExecutor(_WORKERS) as pool:
        staged, attended = list(pool.map(write, block.layers)), list(pool.map(write_attended, sorted(block.attended)))

    def publish() -> list[FileRecord]:
        with ThreadPoolExecutor(_WORKERS) as pool:
            return [*pool.map(lambda finish: finish(), staged), *attended]

    return publish


def read_block(
    warehouse: Warehouse,
    collection: str,
    shard: int,
    layers: Sequence[int],
    n_folds: int,
    attention_layers: Sequence[int] = (),
    attention_top_k: int = 0,
) -> ResidualBlock:
    """Read one shard of an unfinished collection; its sequences are in the part of the same number.

    Raises:
        DamagedFileError: a file is missing or cannot be read.
    """
    part = f"part-{shard:05d}.parquet"
    paths = [
        {layer: f"{table}/collection={collection}/layer={layer}/{part}" for layer in of_table}
        for table, of_table in (("activations", layers), ("attended", attention_layers))
    ]
    files = Shard(paths[0], paths[1], attention_top_k)
    sequences = read_sequences(warehouse, [f"sequences/collection={collection}/{part}"], n_folds)
    with ThreadPoolExecutor(_WORKERS) as readers:
        block = read_shard(warehouse, files, sequences, n_folds, None, readers)
    assert block is not None  # None is for shards without a row of the splits
    return block


class StoredSource:
    """The activations of a collection as a residual source, in the order of its shards.

    At most two shards are in memory: the current one and the next, read ahead by a thread. Treat the tensors as
    read-only: they may be views of the read buffers.

    Args:
        warehouse: the warehouse, or its root.
        collection: key of a complete collection whose activations were stored.
        attention_layers: blocks of the model whose attention comes along, as ``block.attended``.
        shards: numbers of the shards to yield; default all.

    Raises:
        InputError: no such collection, or it was collected without storing activations.
        LayerError: attention of a block that was not collected.
        DamagedFileError: a file is missing or short.
    """

    def __init__(
        self,
        warehouse: Warehouse | str | Path | None,
        collection: str,
        attention_layers: Iterable[int] = (),
        shards: Sequence[int] | None = None,
    ):
        self._warehouse = warehouse if isinstance(warehouse, Warehouse) else Warehouse(warehouse)
        self.collection = collection
        files = _files(self._warehouse, collection)
        for path, problem in self._warehouse.damage(f for of_table in files.values() for f in of_table).items():
            url = self._warehouse.storage.url(path)
            raise DamagedFileError(f"damaged file {url}", where=problem, cure=REBUILD)
        self._paths = {table: _by_part(files[table]) for table in ("activations", "attended")}
        self.layers: tuple[int, ...] = _layers(self._paths["activations"])
        self.attention_layers = tuple(sorted(set(attention_layers)))
        if missing := sorted(set(self.attention_layers) - set(_layers(self._paths["attended"]))):
            wanted = ",".join(map(str, self.attention_layers))
            cure = f"collect with --set collect.attention_layers=[{wanted}] --set model.attention=eager"
            raise LayerError(f"attention of blocks {missing} was not collected", where=collection, cure=cure)
        columns = ["d_model", "n_folds", "settings"]
        (row,) = read_columns(self._warehouse, files["collections"][-1].path, columns).to_pylist()
        self.d_model: int = row["d_model"]
        self.n_folds: int = row["n_folds"]
        self._top_k: int = json.loads(row["settings"])["attention_top_k"] if self.attention_layers else 0
        self._sequences = read_sequences(self._warehouse, [file.path for file in files["sequences"]], self.n_folds)
        self._parts = sorted(self._paths["activations"])
        if shards is not None:
            self._parts = [part for part in self._parts if _number(part) in shards]

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """One block per shard, of the given layers and splits; shards without such rows are skipped.

        Raises:
            LayerError: a layer that is not stored.
            DamagedFileError: a file cannot be read, or the layers of a shard do not hold the same tokens.
        """
        wanted = [layer for layer in self.layers if layers is None or layer in layers]
        if missing := sorted(set(layers or ()) - set(self.layers)):
            cure = f"choose from {list(self.layers)}"
            raise LayerError(f"collection {self.collection} has no layers {missing}", cure=cure)
        shards = []
        for part in self._parts:
            found = []
            for table, of_table in (("activations", wanted), ("attended", self.attention_layers)):
                paths = self._paths[table].get(part, {})
                if lacking := sorted(set(of_table) - paths.keys()):
                    where = self.collection
                    raise DamagedFileError(f"{part} lacks {table} of layers {lacking}", where=where, cure=REBUILD)
                found.append({layer: paths[layer] for layer in of_table})
            shards.append(Shard(found[0], found[1], self._top_k))
        return self._stream(shards, splits)

    def _stream(self, shards: list[Shard], splits: Collection[str] | None) -> Iterator[ResidualBlock]:
        ahead, readers = ThreadPoolExecutor(1), ThreadPoolExecutor(_WORKERS)

        def start(number: int) -> Future[ResidualBlock | None] | None:
            if number == len(shards):
                return None
            return ahead.submit(
                read_shard, self._warehouse, shards[number], self._sequences, self.n_folds, splits, readers
            )

        try:
            number, coming = 0, start(0)
            while coming is not None:
                block = coming.result()
                number += 1
                coming = start(number)
                if block is not None:
                    yield block
        finally:
            # Not waiting: an abandoned stream is closed by the garbage collector, which may run inside the very lock
            # of `threading` that joining a thread needs.
            for pool in (ahead, readers):
                pool.shutdown(wait=False, cancel_futures=True)


def _files(warehouse: Warehouse, collection: str) -> dict[str, list[FileRecord]]:
    """Table -> files of the collection's complete stages that passed their checks."""
    found: dict[str, dict[str, FileRecord]] = {
        table: {} for table in ("collections", "sequences", "activations", "attended")
    }
    passed = [run for run in manifests(warehouse) if run.quality == PASSED]
    for file in (file for run in passed for file in run.files):
        if file.table_name in found and file.path.startswith(f"{file.table_name}/collection={collection}/"):
            found[file.table_name][file.path] = file
    if not found["collections"] or not found["sequences"]:
        known = sorted({run.collection for run in passed})
        raise InputError(f"no complete collection {collection!r}", where=warehouse.root, cure=f"choose from {known}")
    if not found["activations"]:
        raise InputError(
            f"collection {collection} was collected without storing activations",
            cure="collect again with collect.store_activations=true, or read residuals live from the model",
        )
    return {table: [files[path] for path in sorted(files)] for table, files in found.items()}


def _by_part(files: Iterable[FileRecord]) -> dict[str, dict[int, str]]:
    """Part -> layer -> path."""
    found: dict[str, dict[int, str]] = {}
    for file in files:
        _, _, layer, part = file.path.split("/")
        found.setdefault(part, {})[int(layer.removeprefix("layer="))] = file.path
    return found


def _number(part: str) -> int:
    """Number of a shard, from the name of its files."""
    return int(part.removeprefix("part-").removesuffix(".parquet"))


def _layers(paths: dict[str, dict[int, str]]) -> tuple[int, ...]:
    return tuple(sorted({layer for of_part in paths.values() for layer in of_part}))
