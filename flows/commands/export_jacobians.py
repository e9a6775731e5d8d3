"""``ato export jacobians``: measured Jacobians as files of the Jacobian lens."""

from pathlib import Path

from ato.errors import InputError, UnavailableError
from ato.jacobians import JacobianLens, JacobianSums
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

LATEST = """select j.source_layer, j.target_layer, j.positions, j.n_documents, j.path
from jacobians as j
left join stage_runs as r on r.collection = j.collection and r.stage = 'jacobians' and r.key = j.jacobian
where j.collection = $1 and ($2::integer is null or j.target_layer = $2)
qualify row_number() over (
    partition by j.source_layer, j.target_layer order by r.started_at desc nulls last, j.jacobian
) = 1
order by j.target_layer, j.source_layer"""


def export_jacobians(collection: str, folder: str | Path, layer: int | None = None) -> list[Path]:
    """Write the latest Jacobian of every pair, a file for each target layer: ``jacobian_lens_{target}.pt``.

    The public lenses end at the last layer and sum over later positions (``jacobians.positions=later``); the layout
    says neither.

    Args:
        collection: key of the collection.
        folder: created if it is missing.
        layer: only those that end at this layer.

    Raises:
        InputError: no Jacobians (that end there).
        UnavailableError: the folder cannot be written.
    """
    warehouse, folder = Warehouse(), Path(folder).expanduser()
    found = rows(warehouse, LATEST, [collection, layer])
    if not found:
        where = collection if layer is None else f"{collection}, target layer {layer}"
        raise InputError("no Jacobian to export", where=where, cure="run `ato run jacobians` first")
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target in sorted({row["target_layer"] for row in found}):
            own = [row for row in found if row["target_layer"] == target]
            path = folder / f"jacobian_lens_{target}.pt"
            _lens(warehouse, own).save(path)
            paths.append(path)
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise UnavailableError(problem, where=folder, cure="choose another folder: --to") from None
    return paths


def _lens(warehouse: Warehouse, own: list[dict]) -> JacobianLens:
    """The file has one number of documents: that of the Jacobian that has fewest."""
    sums = {row["source_layer"]: JacobianSums.load(warehouse.artifact_path(*row["path"].split("/")[1:])) for row in own}
    return JacobianLens({layer: of.mean() for layer, of in sums.items()}, min(row["n_documents"] for row in own))
