"""The reader's sentence continued with the feature held at a value, beside what the model says unedited."""

import shlex
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from ato.errors import AtoError, InputError
from ato.text.token_texts import TokenTexts
from dashboards.ui.address import typed
from dashboards.ui.feature_names import FeatureName, names_of
from dashboards.ui.loaded import small_model, stored_sae
from dashboards.ui.plain import plain
from dashboards.ui.windows import coloured

if TYPE_CHECKING:
    from ato.causal.steered import Reading, Steered, SteeredText
    from ato.models import LanguageModel

NEW_TOKENS = 32
"""Of each continuation, at most."""


def continued(about: dict[str, Any], row: dict[str, Any], text: str) -> None:
    """A field for the value, and both continuations.

    Args:
        about: the feature.
        row: of the SAE and its collection's model.
        text: the sentence.
    """
    known = names_of(about["collection"], about["sae"], [about["feature_id"]]).get(about["feature_id"], FeatureName())
    largest = "" if known.largest is None else f", such as {known.largest:.3g}, the largest activation measured"
    asked = typed(
        "Continue it with the feature held at",
        "steer_to",
        placeholder=f"A value{largest}",
        help="Greedy, beside the unedited model's continuation. 0 ablates the feature wherever it fires.",
    ).strip()
    value = _number(asked)
    if asked and value is None:
        st.warning(f"{plain(repr(asked[:40]))} is not a number: write one such as 12.5.")
    elif value is not None:
        try:
            with st.spinner("Continuing the sentence ..."):
                found = _steered(about, row, text, value)
            _show(found, value, small_model(row["model"], row["revision"], row["model_hash"]))
        except AtoError as error:
            st.warning(plain(error))
    to = asked if value is not None else "VALUE" if known.largest is None else f"{known.largest:.3g}"
    feature = f"{about['sae']}/{about['feature_id']}"
    st.text(shlex.join(["ato", "steer", "--feature", feature, "--to", to, "--prompt", text]))
    st.caption("The command keeps both texts as rows, with samples, and measures what the edit costs on held-out text.")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _show(found: "Steered", value: float, model: "LanguageModel") -> None:
    """Both texts, coloured by the feature's activation."""
    texts = TokenTexts(model.tokenizer)
    largest = max((float(reading.before.max()) for reading in found.readings), default=0.0)
    sides = (("Unedited", found.unedited, False, "edited"), (f"Held at {value:g}", found.edited, True, "unedited"))
    for place, (title, said, is_edited, other) in zip(st.columns(2), sides):
        (reading,) = (one for one in found.readings if one.of_edited == is_edited)
        with place:
            st.markdown(f"**{title}**")
            st.html(_text(reading, said, texts, largest))
            st.caption(f"log p per token {said.log_p:.2f}, in the {other} model {said.log_p_other:.2f}")
    prompt = "" if found.kl_prompt is None else f"{found.kl_prompt:.3f} nats on the sentence, "
    st.caption(
        f"At most {NEW_TOKENS} new tokens. KL(unedited || edited) per token: {prompt}{found.kl_continuation:.3f} on the unedited "
        "continuation. Colour: the feature's activation before it is set."
    )


def _text(reading: "Reading", said: "SteeredText", texts: TokenTexts, largest: float) -> str:
    """The new tokens as HTML."""
    n = len(said.token_ids)
    return coloured(texts.of(said.token_ids), reading.before[-n:].tolist() if n else [], largest)


def _steered(about: dict[str, Any], row: dict[str, Any], text: str, value: float) -> "Steered":
    return _run(
        small_model(row["model"], row["revision"], row["model_hash"]),
        stored_sae(row["path"], row["weights_hash"]),
        (row["model_hash"], row["weights_hash"]),
        (row["site"], about["layer"], about["feature_id"]),
        text,
        value,
        row["prepend_bos"],
    )


@st.cache_data(max_entries=100, show_spinner=False)
def _run(
    _model: Any, _sae: Any, keys: tuple[str, str], where: tuple[str, int, int], text: str, value: float, bos: bool
) -> "Steered":
    """Both continuations, kept by the keys of model and SAE, the place of the feature, the text and the value."""
    from ato.causal.feature_edits import FeatureEdit
    from ato.causal.steered import steer
    from ato.features.text_reading import MAX_TOKENS
    from ato.models.generation import Decoding

    site, layer, feature_id = where
    before = [_model.tokenizer.bos_token_id] if bos else []
    ids = [*before, *_model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
    if len(ids) > MAX_TOKENS:
        raise InputError(f"the sentence has {len(ids)} tokens", cure=f"shorten it to {MAX_TOKENS}, or use the command")
    edit = FeatureEdit(_sae, layer, feature_id, "to", value, site=site)
    (found,) = steer(_model, [np.array(ids, dtype=np.int64)], [edit], Decoding(max_new_tokens=NEW_TOKENS))
    return found
