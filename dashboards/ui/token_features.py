"""The features of tokens of the corpus: an SAE's, from the residuals that the collection has stored, else from the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
import streamlit as st

import warehouse
from ato.errors import AtoError, UnavailableError
from dashboards.ui.loaded import small_model, stored_sae
from dashboards.ui.reading import ask, filled, snapshot

if TYPE_CHECKING:
    from ato.features.token_features import TokenFeatures
    from ato.models import LanguageModel

SAE = """select s.layer, s.site, s.path, s.weights_hash, c.site as collected_site, c.model, c.revision, c.weights_hash as model_hash
from saes as s
inner join collections as c using (collection)
where s.collection = $collection and s.sae = $sae"""
RESIDUALS = """select sequence_id, position, norm, residual
from activations
where collection = $collection and layer = $layer and sequence_id in $sequences
order by sequence_id, position"""
TOKENS = """select sequence_id, token_ids
from sequences
where collection = $collection and sequence_id in $sequences
order by sequence_id"""
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
    """Sequence -> its tokens' features: from stored residuals, else from the model, if it is small and on this machine.

    Raises:
        UnavailableError: no such SAE, or residuals that are not stored, of a model that a page does not run.
        DamagedFileError: files that are missing or short.
    """
    found = ask(filled(SAE, collection=collection, sae=sae))
    if found.is_empty():
        raise UnavailableError("no such SAE", where=sae, cure="choose one of the collection")
    row, now = found.row(0, named=True), snapshot()
    wanted = tuple(sorted(set(sequences)))
    encoded: dict[int, EncodedSequence] = {}
    if row["site"] == row["collected_site"]:
        encoded = _encoded(
            collection, row["layer"], row["path"], row["weights_hash"], wanted, now.taken_at, now.connection
        )
    if encoded or not wanted:
        return encoded
    try:
        model = small_model(row["model"], row["revision"], row["model_hash"])
    except AtoError as error:
        what = f"the residuals of these tokens are not stored, and the model is not run here: {error}"
        cure = "collect with collect.store_activations=true, or use `ato activations` on the text"
        raise UnavailableError(what, where=collection, cure=cure) from error
    tokens = ask(filled(TOKENS, collection=collection, sequences=wanted))
    read = tuple((number, tuple(ids)) for number, ids in tokens.iter_rows())
    return _run(model, row["model_hash"], row["path"], row["weights_hash"], (row["site"], row["layer"]), read)


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


@st.cache_data(max_entries=30, show_spinner="Running the model ...")
def _run(
    _model: "LanguageModel",
    model_hash: str,
    path: str,
    weights_hash: str,
    place: tuple[str, int],
    sequences: tuple[tuple[int, tuple[int, ...]], ...],
) -> dict[int, EncodedSequence]:
    """The same from a forward pass: all tokens but the first and special ones, none left out for its norm."""
    import numpy as np
    import torch

    from ato.features.token_features import features_of_tokens
    from ato.models.position_reading import read_positions

    (site, layer), sae = place, stored_sae(path, weights_hash)
    prompts = [np.array(ids, dtype=np.int64) for _, ids in sequences]
    special = list(_model.special_token_ids)
    kept = [np.flatnonzero((np.arange(len(ids)) > 0) & ~np.isin(ids, special)) for ids in prompts]
    found = {number: EncodedSequence({}, {}) for number, _ in sequences}
    for read in read_positions(_model, prompts, kept, [layer], site=site):
        x = torch.from_numpy(read.residuals[layer])
        tokens = zip(read.prompt.tolist(), read.position.tolist(), x.norm(dim=1).tolist(), strict=True)
        for (prompt, position, norm), of in zip(tokens, features_of_tokens(sae.active(x), most=sae.d_sae), strict=True):
            own = found[sequences[prompt][0]]
            own.features[position], own.norms[position] = of, norm
    return found


def norms_of(collection: str, layer: int, sequences: Sequence[int]) -> dict[tuple[int, int], float]:
    """(sequence, position) -> norm of the stored residual at a layer; empty where none are stored."""
    rows = ask(filled(NORMS, collection=collection, layer=layer, sequences=tuple(sorted(set(sequences)))))
    return {(sequence, position): norm for sequence, position, norm in rows.iter_rows()}
