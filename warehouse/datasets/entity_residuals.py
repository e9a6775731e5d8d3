"""Residuals at entities, streamed back file by file, and written out as arrays that can be memory-mapped."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ato.errors import InputError
from warehouse.catalog.catalog import rows
from warehouse.datasets.shard_files import read_columns
from warehouse.storage.manifests import PASSED, manifests
from warehouse.storage.warehouse import FileRecord, Warehouse

INDEX = """with sets as (
    select distinct s.entity_set
    from entities as s
    inner join stage_runs as r on r.stage = 'entity_residuals' and list_contains(r.inputs, s.entity_set)
    where s.collection = $collection and list_contains(r.inputs, $reading)
),

labellings as (
    select l.key as labelling
    from stage_runs as l
    inner join stage_runs as a on a.stage = 'entity_answers' and list_has_any(a.inputs, l.inputs)
    inner join sets on list_contains(a.inputs, sets.entity_set)
    where l.stage = 'entity_labels' and l.quality = 'passed' and l.collection = $collection
    order by l.started_at desc
    limit 1
)

select p.entity_id, e.entity_type, e.name, e.invented, e.split, l.label, p.template, p.position, p.token,
    p.token_start, p.token_end, p.token_ids
from entity_positions as p
inner join (from entities semi join sets using (entity_set)) as e using (collection, entity_id)
left join (from entity_labels semi join labellings using (labelling)) as l using (collection, entity_id)
where p.collection = $collection and p.reading = $reading and p.drop_reason is null
order by p.template, p.position, p.entity_id"""
"""Entities as their own set has them, with the labels that were given to it last."""
LAYERS = "select distinct layer from entity_residuals where collection = ? and reading = ? order by layer"


@dataclass(frozen=True)
class EntityBlock:
    """Residuals of some entities at one place."""

    entity_id: list[str]
    residual: np.ndarray
    """[n, d_model] float32."""


def entity_residuals(
    warehouse: Warehouse, reading: str, layer: int, template: str, position: str
) -> Iterator[EntityBlock]:
    """The residuals of one layer, template and position, a block a file, by part and entity.

    Raises:
        DamagedFileError: a file is missing or cannot be read.
    """
    for file in _files(warehouse, reading, layer):
        table = read_columns(warehouse, file.path, ["reading", "entity_id", "template", "position", "residual"])
        at = pc.and_(pc.equal(table["template"], template), pc.equal(table["position"], position))
        own = table.filter(pc.and_(at, pc.equal(table["reading"], reading)))
        if own.num_rows:
            flat = own["residual"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            yield EntityBlock(own["entity_id"].to_pylist(), flat.reshape(own.num_rows, -1).astype(np.float32))


def _files(warehouse: Warehouse, reading: str, layer: int) -> list[FileRecord]:
    """The files of a layer, of the complete parts of a reading, in order."""
    runs = [run for run in manifests(warehouse) if run.quality == PASSED and reading in run.inputs]
    files = [file for run in runs for file in run.files if file.table_name == "entity_residuals"]
    return sorted((file for file in files if f"/layer={layer}/" in file.path), key=lambda file: file.path)


def latest_reading(warehouse: Warehouse, collection: str) -> str:
    """Key of the residuals at entities that were read last.

    Raises:
        InputError: there are none.
    """
    select = """select reading from entity_positions inner join stage_runs as r using (collection)
    where collection = ? and drop_reason is null and r.stage = 'entity_residuals' and list_contains(r.inputs, reading)
    order by r.started_at desc limit 1"""
    found = rows(warehouse, select, [collection])
    if not found:
        raise InputError("no residuals at entities", where=collection, cure="run `ato run entities` first")
    return found[0]["reading"]


def export_entity_residuals(collection: str, folder: str | Path, layer: int | None = None) -> list[Path]:
    """Write the residuals at entities as arrays: a float32 ``.npy`` file a layer, one table of their rows, and a note.

    ``np.load("layer_08.npy", mmap_mode="r")[i]`` is row i of ``rows.parquet``: entity, type, name, label, split, template,
    position and tokens. ``meta.json`` names model, collection and shapes.

    Args:
        collection: key of the collection; its latest reading is written.
        folder: created if it is missing.
        layer: this layer only.

    Raises:
        InputError: no residuals at entities (of that layer).
    """
    import polars as pl

    warehouse = Warehouse()
    reading, folder = latest_reading(warehouse, collection), Path(folder)
    index = pl.DataFrame(rows(warehouse, INDEX, {"collection": collection, "reading": reading}))
    found = [row["layer"] for row in rows(warehouse, LAYERS, [collection, reading])]
    if layer is not None and layer not in found:
        raise InputError(f"layer {layer} was not read at entities", where=reading, cure=f"choose from {found}")
    folder.mkdir(parents=True, exist_ok=True)
    index.write_parquet(folder / "rows.parquet")
    paths = [folder / "rows.parquet"]
    places = {key: i for i, key in enumerate(index.select("entity_id", "template", "position").iter_rows())}
    d_model = 0
    for number in found if layer is None else [layer]:
        path = folder / f"layer_{number:02d}.npy"
        d_model = _write_layer(warehouse, reading, number, places, path)
        paths.append(path)
    about = {"collection": collection, "reading": reading, "dtype": "float32", "shape": [len(places), d_model]}
    (folder / "meta.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return [*paths, folder / "meta.json"]


def _write_layer(
    warehouse: Warehouse, reading: str, layer: int, places: dict[tuple[str, str, str], int], path: Path
) -> int:
    """Fill one array file, a block at a time; returns the width."""
    array: np.memmap | None = None
    for template, position in sorted({key[1:] for key in places}):
        for block in entity_residuals(warehouse, reading, layer, template, position):
            if array is None:
                shape = (len(places), block.residual.shape[1])
                array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
            array[[places[entity, template, position] for entity in block.entity_id]] = block.residual
    assert array is not None, "the layer has residuals"
    array.flush()
    return int(array.shape[1])
