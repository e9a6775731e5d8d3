"""A sentence of the reader's own on one feature: the model runs here, if it is small and on this machine."""

import shlex
from typing import TYPE_CHECKING, Any

import streamlit as st

from ato.errors import AtoError, MismatchError, UnavailableError
from ato.io.hub import cache_only
from dashboards.ui.address import typed
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.ui.windows import coloured
from warehouse.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from ato.features.text_reading import TextReading
    from ato.models import LanguageModel
    from ato.saes import SparseAutoencoder

LARGEST = 1_000_000_000
"""Bytes of the weights on disk of the largest model that a page runs."""
LONGEST = 2000
"""Characters of the longest sentence."""

RUN_WITH = """select s.path, s.site, s.weights_hash, c.model, c.revision, c.weights_hash as model_hash,
    coalesce(if(json_valid(c.settings), json_extract_string(c.settings, 'prepend_bos'), null) = 'true', false) as prepend_bos
from saes as s
inner join collections as c using (collection)
where s.collection = $collection and s.sae = $sae"""


def own_text(about: dict[str, Any]) -> None:
    """A field for a sentence, and the sentence coloured by the feature's activation at each token."""
    with st.container(border=True):
        st.subheader("A sentence of your own", anchor=False)
        text = typed("Sentence", "sentence", max_chars=LONGEST, placeholder="Does it fire on this?")
        if text.strip():
            try:
                _show(_reading(about, text))
            except AtoError as error:
                st.warning(plain(error))
        st.caption(
            "The first sentence loads the model, the others take well under a second for a small one. A model that is large or not on "
            "this machine is not run by a page; on a machine that has it:"
        )
        command = [
            "ato",
            "activations",
            text.strip() or "Does it fire on this?",
            "--feature",
            f"{about['sae']}/{about['feature_id']}",
        ]
        st.code(shlex.join(command), language="sh")


def _show(reading: "TextReading") -> None:
    values = [value or 0.0 for value in reading.activations]
    st.html(coloured(reading.tokens, values, reading.largest))
    read = [value for value in reading.activations if value is not None]
    n = sum(value > 0 for value in read)
    most = f", at most {reading.largest:.3f}: hover for the value at each" if n else ""
    cut = f" The last {reading.n_cut} tokens were cut off." if reading.n_cut else ""
    st.caption(f"Fires on {n} of {len(read)} tokens{most}. The first token and special ones are not read.{cut}")


def _reading(about: dict[str, Any], text: str) -> "TextReading":
    row = ask(filled(RUN_WITH, **about)).row(0, named=True)
    model = _model(row["model"], row["revision"], row["model_hash"])
    sae = _sae(row["path"], row["weights_hash"])
    return _read(
        model,
        sae,
        row["model_hash"],
        row["weights_hash"],
        row["site"],
        about["layer"],
        about["feature_id"],
        text,
        row["prepend_bos"],
    )


@st.cache_data(max_entries=200, show_spinner=False)
def _read(
    _model: "LanguageModel",
    _sae: "SparseAutoencoder",
    model_hash: str,
    sae_hash: str,
    site: str,
    layer: int,
    feature_id: int,
    text: str,
    bos: bool,
) -> "TextReading":
    from ato.features.text_activations import SearchedSAE
    from ato.features.text_reading import read_text

    return read_text(_model, SearchedSAE(sae_hash, layer, _sae, site), feature_id, text, prepend_bos=bos)


@st.cache_resource(max_entries=1, show_spinner="Loading the model, once for all readers ...")
def _model(name: str, revision: str | None, weights_hash: str) -> "LanguageModel":
    """The collection's model, if this machine has it and it is small; nothing is downloaded."""
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
def _sae(path: str, weights_hash: str) -> "SparseAutoencoder":
    from ato.saes import load_sae

    return load_sae(Warehouse().artifact_path(*path.split("/")[1:]))
