"""Writing rows of ``sae_training``, and what lies in a warehouse."""

from pathlib import Path

from warehouse.storage.warehouse import FileRecord, Warehouse


def files_below(warehouse: Warehouse) -> list[str]:
    """Paths of all files of a local warehouse."""
    return sorted(p.relative_to(warehouse.root).as_posix() for p in Path(warehouse.root).rglob("*") if p.is_file())


def write_training(warehouse: Warehouse, rows: object, part: str = "k", sae: str = "s") -> FileRecord:
    """Write rows of ``sae_training`` as one file."""
    return warehouse.write_rows("sae_training", rows, part, collection="c", sae=sae)
