"""What pages keep in memory of models and SAEs: loaded on request, once for all readers; nothing is downloaded."""

from typing import TYPE_CHECKING

import streamlit as st

from ato.errors import MismatchError, UnavailableError
from ato.io.hub import cache_only
from warehouse.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from ato.models import LanguageModel
    from ato.models.vocabulary import Vocabulary
    from ato.operators import TransportOperator
    from ato.saes import SparseAutoencoder

LARGEST = 1_000_000_000
"""Bytes of the weights on disk of the largest model that a page runs."""


@st.cache_resource(max_entries=1, show_spinner="Loading the model, once for all readers ...")
def small_model(name: str, revision: str | None, weights_hash: str) -> "LanguageModel":
    """A collection's model, if this machine has it and it is small.

    Raises:
        UnavailableError: it is large.
        MismatchError: the model of this name has other weights now.
        ModelError: it is not on this machine.
    """
    from ato.models import load_model
    from ato.models.files import locate

    with cache_only():
        files = locate(name, revision)
        weights = [files.folder / files.gguf] if files.gguf else [*files.folder.glob("*.safetensors")]
        if (size := sum(path.stat().st_size for path in weights)) > LARGEST:
            raise UnavailableError(
                f"the model has {size / 1e9:.1f} GB, too many for a page", where=name, cure="use the command"
            )
        model = load_model(name, revision=revision, device="cpu", dtype="float32")
    if model.identity.weights_hash != weights_hash:
        problem = f"the model of this name has other weights now ({model.identity.weights_hash}, not {weights_hash})"
        raise MismatchError(problem, where=name, cure="put back the model that the collection was made with")
    return model


@st.cache_resource(max_entries=4, show_spinner=False)
def vocabulary(name: str, revision: str | None) -> "Vocabulary":
    """The texts of a model's tokens, if this machine has its files, whatever their size.

    Raises:
        AtoError: as ``locate`` and ``read_vocabulary``.
    """
    from ato.models.files import locate
    from ato.models.vocabulary import read_vocabulary

    with cache_only():
        return read_vocabulary(locate(name, revision))


@st.cache_resource(max_entries=4, show_spinner=False)
def stored_sae(path: str, weights_hash: str) -> "SparseAutoencoder":
    """An SAE of the warehouse, by the ``path`` of its row."""
    from ato.saes import load_sae

    return load_sae(Warehouse().artifact_path(*path.split("/")[1:]))


@st.cache_resource(max_entries=8, show_spinner=False)
def stored_operator(path: str, operator: str) -> "TransportOperator":
    """An operator of the warehouse, by the ``path`` of its row; the key tells one from another that took its place."""
    from ato.operators import load_operator

    return load_operator(Warehouse().artifact_path(*path.split("/")[1:]))
