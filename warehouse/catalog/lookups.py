"""Look-ups of finished results that several stages and commands share: a collection, its SAEs, their features."""

import json
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ato.errors import InputError
from ato.models.sites import SITES
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

OPERATORS_INTO = """select source_layer, method, operator, path, r2_test
from operators
where collection = $collection and target_layer = $layer and position_policy = 'same'
qualify row_number() over (partition by source_layer order by method = 'ridge' desc, r2_val desc nulls last, operator) = 1
order by source_layer desc"""
"""The operators that predict a layer from the same token's residual at earlier ones, nearest first: of each source layer
the ridge operator with the best validation score, else the best other one."""


@dataclass(frozen=True)
class CollectionRow:
    """What stages need of a row of the table ``collections``, whose declaration describes the columns."""

    collection: str
    model: str
    revision: str | None
    weights_hash: str
    corpus: str
    corpus_hash: str
    n_documents: int
    n_kept: int
    skipped_documents: dict[str, int]
    seq_len: int
    dtype: str
    site: str
    d_model: int
    n_layers: int
    layers: list[int]
    median_norm: list[float]
    n_folds: int
    settings: str
    warnings: list[str] | None
    """NULL of collections of earlier versions."""

    @property
    def median_norms(self) -> dict[int, float]:
        """Layer -> median residual norm on the pilot shard; empty where norms leave out no token."""
        return dict(zip(self.layers, self.median_norm))

    @property
    def made_with(self) -> dict[str, Any]:
        """The settings that made the collection."""
        return json.loads(self.settings)


@dataclass(frozen=True)
class SAERow:
    """What stages need of a row of the table ``saes``, whose declaration describes the columns."""

    sae: str
    layer: int
    source: str
    d_sae: int
    trusted: bool
    path: str
    neuronpedia_id: str | None


@dataclass(frozen=True)
class StudiedRow:
    """What stages need of a row of the table ``studied_saes``."""

    sae: str
    layer: int
    site: str
    target_site: str | None
    """NULL of SAEs; a transcoder writes it."""
    d_sae: int
    path: str


def collection_row(warehouse: Warehouse, collection: str) -> CollectionRow:
    """The row of a collection.

    Raises:
        InputError: there is no such complete collection.
    """
    found = rows(warehouse, f"select {_columns(CollectionRow)} from collections where collection = ?", [collection])
    if not found:
        raise InputError(
            f"no complete collection {collection!r}", where=warehouse.root, cure="run `ato run collect` first"
        )
    return CollectionRow(**found[0])


def sae_rows(warehouse: Warehouse, keys: Collection[str]) -> list[SAERow]:
    """The rows of SAEs with these keys, by layer."""
    select = f"select {_columns(SAERow)} from saes where list_contains(?, sae) order by layer, sae"
    found = rows(warehouse, select, [list(keys)])
    return [SAERow(**row) for row in found]


def studied_rows(warehouse: Warehouse, collection: str, keys: Collection[str]) -> list[StudiedRow]:
    """The rows of SAEs and transcoders of studies with these keys, by layer.

    Raises:
        InputError: a key that no study of the collection has, or of an SAE of innovations, whose features no site has.
    """
    select = f"""select {_columns(StudiedRow)} from studied_saes
        where collection = ? and list_contains(?, sae) order by layer, sae"""
    found = [StudiedRow(**row) for row in rows(warehouse, select, [collection, list(keys)])] if keys else []
    if missing := sorted(set(keys) - {row.sae for row in found}):
        raise InputError(
            f"no study of the collection has an SAE {missing[0]!r}",
            where=collection,
            cure='list them with `ato sql "select sae, label from studied_saes"`',
        )
    if other := [row for row in found if row.site not in SITES]:
        cure = "name SAEs that read the residuals themselves"
        raise InputError(f"{other[0].sae} reads {other[0].site}", where=collection, cure=cure)
    return found


def operators_into(warehouse: Warehouse, collection: str, layer: int) -> list[dict[str, Any]]:
    """``source_layer, method, operator, path, r2_test`` of one operator a source layer, nearest first; see ``OPERATORS_INTO``."""
    return rows(warehouse, OPERATORS_INTO, {"collection": collection, "layer": layer})


def latest_scores(warehouse: Warehouse, collection: str, sae: str) -> list[dict[str, Any]]:
    """``scoring, feature_id, selected, top_tokens`` of an SAE's latest scoring, by feature; empty without one."""
    return rows(
        warehouse,
        """select scoring, feature_id, selected, top_tokens from latest_feature_scores
        where collection = ? and sae = ? order by feature_id""",
        [collection, sae],
    )


def selected_features(warehouse: Warehouse, collection: str, sae: str) -> np.ndarray:
    """Feature ids [s] int64 that the latest scoring of an SAE selected, best first; empty if there is none."""
    found = rows(
        warehouse,
        "select feature_id from latest_feature_scores where collection = ? and sae = ? and selected order by rank",
        [collection, sae],
    )
    return np.array([row["feature_id"] for row in found], dtype=np.int64)


def best_features(warehouse: Warehouse, collection: str, sae: str, n: int) -> list[int]:
    """The first ``n`` selected features of an SAE; where none were selected, the most active ones."""
    if chosen := selected_features(warehouse, collection, sae)[:n].tolist():
        return chosen
    found = rows(
        warehouse,
        """select feature_id from feature_stats where collection = ? and sae = ? and n_active > 0
        order by n_active desc, feature_id limit ?""",
        [collection, sae, n],
    )
    return [row["feature_id"] for row in found]


def trusted_explanations(
    warehouse: Warehouse, collection: str, sae: str, features: Collection[int]
) -> dict[int, list[dict[str, Any]]]:
    """Explanations of some features that can be believed, best score first: feature -> rows of ``explanations``.

    Those of Neuronpedia are believed where their published tokens are our own. They are candidates for descriptions that
    nobody has to be asked for.
    """
    found = rows(
        warehouse,
        """select feature_id, source, description, type_name, explainer, score, score_type, explanation_id from explanations
        where collection = ? and sae = ? and list_contains(?, feature_id) and (aligned or source <> 'neuronpedia')
        order by feature_id, score desc nulls last, source, explanation_id""",
        [collection, sae, list(features)],
    )
    grouped: dict[int, list[dict[str, Any]]] = {}
    for row in found:
        grouped.setdefault(row["feature_id"], []).append(row)
    return grouped


def _columns(row: type) -> str:
    return ", ".join(field.name for field in fields(row))
