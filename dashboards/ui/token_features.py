"""The features of tokens of the corpus: an SAE's, encoded from the residuals that the collection has stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
import streamlit as st

import warehouse
from ato.errors import UnavailableError
from dashboards.ui.loaded import stored_sae
from dashboards.ui.reading import ask, filled, snapshot

if TYPE_CHECKING:
    from ato.features.token_features import TokenFeatures

SAE = """select s.layer, s.site, s.path, s.weights_hash, s.d_sae, c.site as collected_site
from saes as s
inner join collections as c using (collection)
where s.collection = $collection and s.sae = $sae"""
RESIDUALS = """select sequence_id, position, norm, residual
from activations
where collection = $collection and layer = $layer and sequence_id in $sequences
order by sequence_id, position"""
NORMS = """select sequence_id, position, norm
from activations
where collection = $collection and layer = $layer and sequence_id in $sequences
order by sequence_id, position"""


@dataclass(frozen=True)
class EncodedSequence:
    """The kept tokens of one sequence; tokens that the collection left out are in neither."""

    features: dict[int, "TokenFeatures"]
    """Position -> the features that are active there."""
    norms: dict[int, float]
    """Position -> Euclidean norm of the residual."""

    def activations(self, feature_id: int, n_tokens: int) -> list[float | None]:
        """Of one feature at each position, 0 where it is silent; None where the token was left out."""
        found: list[float | None] = [None] * n_tokens
        for position, of in self.features.items():
            known = dict(zip(of.features, of.activations))
            found[position] = known.get(feature_id, 0.0)
        return found


def encoded_sequences(collection: str, sae: str, sequences: Sequence[int]) -> dict[int, EncodedSequence]:
    """Sequence -> its tokens' features, of sequences whose residuals are stored; the others are left out.

    Raises:
        UnavailableError: no such SAE, one of another site than the collection's, or residuals that are not stored.
        DamagedFileError: files that are missing or short.
    """
    found = ask(filled(SAE, collection=collection, sae=sae))
    if found.is_empty():
        raise UnavailableError("no such SAE", where=sae, cure="choose one of the collection")
    row = found.row(0, named=True)
    if row["site"] != row["collected_site"]:
        what = f"the SAE reads {row['site']}, and {row['collected_site']} is stored"
        raise UnavailableError(what, where=sae, cure="use `ato activations` on the text")
    now = snapshot()
    wanted = tuple(sorted(set(sequences)))
    encoded = _encoded(collection, row["layer"], row["path"], row["weights_hash"], wanted, now.taken_at, now.connection)
    if wanted and not encoded:
        cure = "collect with collect.store_activations=true, or use `ato activations` on the text"
        raise UnavailableError("the residuals of these tokens are not stored", where=collection, cure=cure)
    return encoded


@st.cache_data(max_entries=30, show_spinner=False)
def _encoded(
    collection: str,
    layer: int,
    path: str,
    weights_hash: str,
    sequences: tuple[int, ...],
    taken_at: datetime,
    _connection: duckdb.DuckDBPyConnection,
) -> dict[int, EncodedSequence]:
    import numpy as np
    import torch

    from ato.features.token_features import features_of_tokens

    sql = filled(RESIDUALS, collection=collection, layer=layer, sequences=sequences)
    table = warehouse.run_select(_connection, sql).to_arrow_table()
    if not table.num_rows:
        return {}
    column = table["residual"].combine_chunks()
    x = torch.from_numpy(np.array(column.flatten()).reshape(table.num_rows, -1).astype(np.float32))
    sae = stored_sae(path, weights_hash)
    tokens = features_of_tokens(sae.active(x), most=sae.d_sae)
    found: dict[int, EncodedSequence] = {}
    for sequence, position, norm, of in zip(
        *(table[name].to_pylist() for name in ("sequence_id", "position", "norm")), tokens
    ):
        own = found.setdefault(sequence, EncodedSequence({}, {}))
        own.features[position], own.norms[position] = of, norm
    return found


def norms_of(collection: str, layer: int, sequences: Sequence[int]) -> dict[tuple[int, int], float]:
    """(sequence, position) -> norm of the stored residual at a layer; empty where none are stored."""
    rows = ask(filled(NORMS, collection=collection, layer=layer, sequences=tuple(sorted(set(sequences)))))
    return {(sequence, position): norm for sequence, position, norm in rows.iter_rows()}
