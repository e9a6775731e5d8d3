"""A sentence of the reader's own on one feature: the model runs here, if it is small and on this machine."""

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import streamlit as st

from ato.errors import AtoError
from dashboards.ui.address import choose, typed
from dashboards.ui.charts import CATEGORIES
from dashboards.ui.export import export
from dashboards.ui.feature_names import names_of
from dashboards.ui.loaded import small_model, stored_operator, stored_sae
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.ui.token_view import Highlight, TokenFacts, token_view
from dashboards.ui.token_view.controls import TokenChoices, token_choices
from dashboards.views.features.continued_text import continued
from warehouse.catalog.lookups import OPERATORS_INTO

if TYPE_CHECKING:
    from ato.features.text_reading import TextReading

LONGEST = 2000
"""Characters of the longest sentence."""
COLOURS = {"activation": CATEGORIES[1], "predicted": CATEGORIES[0], "loss": CATEGORIES[3]}
"""What tokens are coloured by."""
TITLE = "A sentence of your own"
LOSS = "loss on the next token (nats)"

RUN_WITH = """select s.path, s.site, s.weights_hash, c.model, c.revision, c.weights_hash as model_hash, c.site as collected_site,
    coalesce(if(json_valid(c.settings), json_extract_string(c.settings, 'prepend_bos'), null) = 'true', false) as prepend_bos
from saes as s
inner join collections as c using (collection)
where s.collection = $collection and s.sae = $sae"""


@st.fragment
def own_text(about: dict[str, Any]) -> None:
    """A field for a sentence, and the sentence token by token: activation, transport, loss, and the other features."""
    with st.container(border=True):
        head = st.container(horizontal=True, wrap=False, vertical_alignment="center")
        head.subheader(TITLE, anchor=False)
        text = typed("Sentence", "sentence", max_chars=LONGEST, placeholder="Does it fire on this?")
        feature = ["--feature", f"{about['sae']}/{about['feature_id']}"]
        own = text.strip() or "Does it fire on this?"
        command = shlex.join(["ato", "activations", *feature, *(["--"] if own.startswith("-") else []), own])
        if text.strip():
            try:
                told, fires = _read_and_show(about, text)
                if not fires.is_empty():
                    with head:
                        export(TITLE, told, command, fires, [])
            except AtoError as error:
                st.warning(plain(error))
        st.caption(
            "The first sentence loads the model, the others take well under a second for a small one. Click a token for its features. A "
            "model that is large or not on this machine is not run by a page; on a machine that has it:"
        )
        st.text(command)  # as code it would wait for a click, see ``dashboards.ui.panels.code``
        if text.strip():
            continued(about, _run_with(about), text.strip())


def _read_and_show(about: dict[str, Any], text: str) -> tuple[str, pl.DataFrame]:
    """Show what the model reads; returns what is said of it, and the tokens on which the feature fires."""
    row = _run_with(about)
    first, second, third = st.columns([2, 2, 3], vertical_alignment="bottom")
    operator = _operator(about, row, first)
    colour = choose("Colour", "shade", [*COLOURS] if operator else ["activation", "loss"], where=second)
    choices = token_choices(third.container())
    reading = _reading(about, row, operator, text, choices.special)
    _show(about, reading, str(colour), choices)
    return _table(reading, operator)


def _run_with(about: dict[str, Any]) -> dict[str, Any]:
    """The row of the SAE and of the model that it is of."""
    return ask(filled(RUN_WITH, **about)).row(0, named=True)


def _operator(about: dict[str, Any], row: dict[str, Any], where: Any) -> dict[str, Any] | None:
    """The row of the operator that predicts what the SAE reads from an earlier layer; None where there is none."""
    known = ask(filled(OPERATORS_INTO, **about)) if row["site"] == row["collected_site"] else pl.DataFrame()
    layers = known["source_layer"].to_list() if known.height else []
    source = choose(
        "Transport from layer",
        "from_layer",
        layers,
        help="Whose residual the operator takes; the feature's activation on its prediction stands beside the actual one.",
        where=where,
    )
    return None if source is None else known.filter(pl.col("source_layer") == source).row(0, named=True)


def _show(about: dict[str, Any], reading: "TextReading", colour: str, choices: TokenChoices) -> None:
    predicted = reading.predicted or (None,) * len(reading.tokens)
    values = {"activation": reading.activations, "predicted": predicted, "loss": reading.losses}[colour]
    largest = {"loss": max((loss for loss in reading.losses if loss is not None), default=0.0)}.get(
        colour, reading.largest
    )
    shown = [i for i, is_special in enumerate(reading.special) if choices.special or not is_special]
    every = {one for of in reading.features if of is not None for one in of.features}
    names = names_of(about["collection"], about["sae"], every)
    features = choices.listed([reading.features[i] for i in shown], names)
    further = {"activation": reading.activations, "predicted": predicted, LOSS: reading.losses}
    name = LOSS if colour == "loss" else colour
    token_view(
        "own text",
        [reading.tokens[i] for i in shown],
        [Highlight(name, COLOURS[colour], [values[i] for i in shown], largest)],
        TokenFacts(
            shown,
            features,
            names,
            about["sae"],
            about["collection"],
            {name: [numbers[i] for i in shown] for name, numbers in further.items()},
            f"L{about['layer']}/",
        ),
    )


def _table(reading: "TextReading", operator: dict[str, Any] | None) -> tuple[str, pl.DataFrame]:
    """The tokens on which the feature fires, in numbers, and what is to be said of all."""
    predicted = reading.predicted or (None,) * len(reading.tokens)
    columns = zip(reading.tokens, reading.activations, predicted, reading.transported, reading.losses, strict=True)
    fires = [(i, *rest) for i, rest in enumerate(columns) if rest[1]]
    n, n_read = len(fires), sum(value is not None for value in reading.activations)
    most = f", at most {reading.largest:.3f}: hover for the value at each" if n else ""
    carried = ""
    if operator is not None and n:
        n_carried = sum(transported is True for *_, transported, _ in fires)
        carried = (
            f" On {n_carried} of these it is transported: it fires on what the operator {operator['method']} predicts from layer "
            f"{operator['source_layer']} too."
        )
    cut = f" The last {reading.n_cut} tokens were cut off." if reading.n_cut else ""
    unread = "" if n_read == len(reading.tokens) else " The first token and special ones are not read."
    st.caption(told := f"Fires on {n} of {n_read} tokens{most}.{carried}{unread}{cut}")
    names = ["position", "token", "activation", "predicted", "transported", "loss"]
    rows = pl.DataFrame(fires, schema=names, orient="row", infer_schema_length=None)
    if fires:
        number = partial(st.column_config.NumberColumn, format="%.3f")
        st.dataframe(
            rows,
            hide_index=True,
            placeholder="–",
            height=min(250, 36 * (n + 1) + 2),
            column_config={
                "activation": number("activation"),
                "predicted": number("predicted", help="Activation on what the operator predicts from the source layer"),
                "transported": st.column_config.CheckboxColumn("transported"),
                "loss": number(LOSS),
            },
        )
    return told, rows


def _reading(
    about: dict[str, Any], row: dict[str, Any], operator: dict[str, Any] | None, text: str, special: bool
) -> "TextReading":
    return _read(
        small_model(row["model"], row["revision"], row["model_hash"]),
        stored_sae(row["path"], row["weights_hash"]),
        None if operator is None else stored_operator(operator["path"], operator["operator"]),
        (row["model_hash"], row["weights_hash"], None if operator is None else operator["operator"]),
        (row["site"], about["layer"], about["feature_id"]),
        text,
        (row["prepend_bos"], special),
    )


@st.cache_data(max_entries=100, show_spinner=False)
def _read(
    _model: Any,
    _sae: Any,
    _operator: Any,
    keys: tuple[str, str, str | None],
    where: tuple[str, int, int],
    text: str,
    tokens: tuple[bool, bool],
) -> "TextReading":
    """The reading, kept by the keys of model, SAE and operator, the place of the feature, and how the text is tokenised."""
    from ato.features.text_activations import SearchedSAE
    from ato.features.text_reading import read_text

    site, layer, feature_id = where
    bos, special = tokens
    sae = SearchedSAE(keys[1], layer, _sae, site)
    return read_text(_model, sae, feature_id, text, operator=_operator, special_tokens=special, prepend_bos=bos)
