"""Which SAEs are searched or edited: those that a collection has judged, by layer or key, one of a study, or one in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ato.errors import InputError, SAEError
from ato.models.sites import SITES
from ato.saes import SparseAutoencoder, load_sae
from tasks.engine.study import Study
from warehouse.catalog.catalog import rows
from warehouse.catalog.feature_names import layer_named

JUDGED, STUDIED = "saes", "studied_saes"
"""Tables of SAEs with the columns collection, sae, layer, site and path. Those of studies are many: they are named one by one."""


@dataclass(frozen=True, eq=False)
class ChosenSAE:
    """An SAE with its place."""

    key: str
    layer: int
    site: str
    sae: SparseAutoencoder
    in_warehouse: bool
    """Whether the key is one of the collection's tables."""


def chosen_saes(study: Study, keys: Sequence[str] = (), layers: Sequence[int] = ()) -> list[ChosenSAE]:
    """SAEs by key or folder, and those at some layers; without either all of the collection, each read once.

    Raises:
        InputError: the collection has none, or none at a layer.
        SAEError: no such key or folder, or an SAE of another width or without a known place.
    """
    if keys or layers:
        found = [sae_of(study, key) for key in dict.fromkeys(keys)]
        found += [one for layer in dict.fromkeys(layers) for one in _at_layer(study, layer)]
    else:
        found = [_judged(study, row) for row in _rows(study)]
    if not found:
        raise InputError("the collection has no SAE", where=study.collection, cure="run `ato run saes` first")
    return [*{one.key: one for one in found}.values()]


def sae_of(study: Study, given: str) -> ChosenSAE:
    """The SAE of a key (of stage ``saes`` or of a study), of a folder, or the only one at a layer, ``12`` or ``L12``.

    Raises:
        InputError: no SAE, or several, at the layer.
        SAEError: no such key or folder, or an SAE of another width or without a known place.
    """
    layer = layer_named(given)
    if layer is not None:
        found = _at_layer(study, layer)
        if len(found) > 1:
            cure = f"name one: {', '.join(one.key for one in found)}"
            raise InputError(f"layer {layer} has {len(found)} SAEs", where=study.collection, cure=cure)
        return found[0]
    for row in (*_rows(study), *_rows(study, STUDIED)):
        if row["sae"] == given:
            if row.get("target_site"):
                cure = "use an SAE: its features are directions of the site that it reads"
                raise SAEError(f"{given} is a transcoder", where=study.collection, cure=cure)
            if row["site"] not in SITES:
                cure = "use an SAE that reads the residuals themselves"
                raise SAEError(f"{given} reads {row['site']}", where=study.collection, cure=cure)
            return _judged(study, row)
    path = Path(given).expanduser()
    if not path.exists():
        known = ", ".join(row["sae"] for row in _rows(study)) or "none"
        raise SAEError(
            f"no SAE {given!r}", where=study.collection, cure=f"use its key ({known}), a layer (L12) or a folder"
        )
    sae = load_sae(path, d_model=study.row.d_model)
    if sae.hook_layer is None or sae.site not in SITES:
        cure = "write metadata.hook_name into its configuration"
        raise SAEError("the file does not say which layer and site the SAE reads", where=path, cure=cure)
    if sae.hook_layer >= study.row.n_layers:
        problem = f"the SAE is of layer {sae.hook_layer}, the model has layers 0 to {study.row.n_layers - 1}"
        raise SAEError(problem, where=path, cure="use an SAE of this model")
    return ChosenSAE(f"{path.resolve().name}-{sae.weights_hash[:8]}", sae.hook_layer, sae.site, sae, in_warehouse=False)


def _at_layer(study: Study, layer: int) -> list[ChosenSAE]:
    found = [row for row in _rows(study) if row["layer"] == layer]
    if not found:
        known = sorted({row["layer"] for row in _rows(study)})
        cure = f"choose from layers {', '.join(map(str, known))}" if known else "run `ato run saes` first"
        raise InputError(f"no SAE at layer {layer}", where=study.collection, cure=cure)
    return [_judged(study, row) for row in found]


def _rows(study: Study, table: str = JUDGED) -> list[dict]:
    columns = "sae, layer, site, path" + (", target_site" if table == STUDIED else "")
    sql = f"select {columns} from {table} where collection = ? order by layer, sae"
    return rows(study.warehouse, sql, [study.collection])


def _judged(study: Study, row: dict) -> ChosenSAE:
    sae = load_sae(study.warehouse.artifact_path(*row["path"].split("/")[1:]))
    return ChosenSAE(row["sae"], row["layer"], row["site"], sae, in_warehouse=True)


def inputs_of(study: Study, saes: Sequence[ChosenSAE]) -> list[str]:
    """Keys that a stage on these SAEs stands on."""
    return [study.collection, *sorted({one.key for one in saes if one.in_warehouse})]
