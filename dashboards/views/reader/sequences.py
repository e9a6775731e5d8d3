"""The text of a document's sequences token by token: highlights of features, norms, losses, and links to the rows."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import streamlit as st

from ato.errors import AtoError
from ato.text.aligned_tokens import aligned
from ato.text.display import visible
from ato.text.token_texts import TokenTexts, whole_tokens
from dashboards.ui.address import choose, typed
from dashboards.ui.feature_names import FeatureName, names_of
from dashboards.ui.loaded import vocabulary
from dashboards.ui.navigation import link
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.ui.token_features import EncodedSequence, encoded_sequences, norms_of
from dashboards.ui.token_view import Highlight, TokenFacts, token_view
from dashboards.ui.token_view.controls import DENSEST, TokenChoices, token_choices
from dashboards.views.reader.chosen_features import ChosenFeature, read_features, with_feature
from dashboards.views.reader.losses import losses_of

if TYPE_CHECKING:
    from ato.features.token_features import TokenFeatures

SAES = """select sae, layer, d_sae
from saes
where collection = $collection
order by layer, sae"""
SEQUENCE = """select sequence_id, document_id, split, start, n_tokens, text
from sequences
where collection = $collection and sequence_id = $sequence_id"""
TOKENS = """select sequence_id, position, token_id, layer, norm
from activations
where collection = $collection and sequence_id = $sequence_id
order by position, layer"""
NOTHING = "nothing"
NORM, LOSS = "norm of the residual", "loss on the next token (nats)"
GREY = "#999999"


@dataclass(frozen=True)
class Reading:
    """What is read, and where the reader came for."""

    collection: str
    document_id: str
    marked: tuple[int, int] | None
    """Sequence and position of the marked token; None: none is."""


@dataclass(frozen=True)
class Shown:
    """What stands at the tokens of the shown sequences."""

    chosen: list[ChosenFeature]
    encoded: dict[str, dict[int, EncodedSequence]]
    """SAE -> sequence -> its features, of SAEs that something is shown of."""
    names: dict[str, dict[int, FeatureName]]
    """SAE -> feature -> what is known of it."""
    sae: str | None
    """Whose features a click on a token lists."""
    layers: dict[str, int]
    """SAE -> layer."""
    shade: str
    numbers: dict[int, list[float | None]]
    """Sequence -> the norm or loss of each token, whichever ``shade`` says."""
    choices: TokenChoices


def sequences(reading: Reading, rows: pl.DataFrame) -> None:
    """Draw the controls and the sequences."""
    shown = _chosen(reading, rows)
    _legend(shown)
    texts, problem = _token_texts(rows)
    if problem:
        st.info(f"The text is shown without its tokens: {plain(problem)}")
    largest = {one: _largest(shown, one) for one in shown.chosen}
    most = max((value for of in shown.numbers.values() for value in of if value is not None), default=0.0)
    for row in rows.iter_rows(named=True):
        _heading(reading, row)
        if texts is None:
            st.html(
                f'<div style="white-space:pre-wrap;overflow-wrap:anywhere">{html.escape(visible(row["text"], keep=chr(10)))}</div>'
            )
            continue
        tokens, special = texts[row["sequence_id"]]
        _sequence(reading, row, (tokens, special), shown, (largest, most))


def _chosen(reading: Reading, rows: pl.DataFrame) -> Shown:
    """The controls, and what they ask for."""
    saes = ask(filled(SAES, collection=reading.collection))
    first, second, third = st.columns([4, 3, 2])
    text = typed("Highlight features", "features", placeholder="L12/345, L8/12", where=first)
    chosen = read_features(text, saes)
    of = choose(
        "Features of each token",
        "token_sae",
        [NOTHING, *saes["sae"].to_list()],
        default=chosen[0].sae if chosen else NOTHING,
        help="An SAE: hover over a token for its three strongest features, click it for more.",
        where=second,
    )
    shade = choose(
        "Also colour",
        "shade",
        [NOTHING, NORM, LOSS],
        help="The norm is that of the stored residual; the loss needs the model, which then runs here if it is small.",
        where=third,
    )
    sae = None if of in (None, NOTHING) else of
    choices = token_choices(st.container(horizontal=True, vertical_alignment="bottom")) if sae else _no_choices()
    numbers = rows["sequence_id"].to_list()
    encoded: dict[str, dict[int, EncodedSequence]] = {}
    names: dict[str, dict[int, FeatureName]] = {}
    for key in dict.fromkeys([*(one.sae for one in chosen), *([sae] if sae else [])]):
        try:
            encoded[key] = encoded_sequences(reading.collection, key, numbers)
        except AtoError as error:
            st.info(f"Features of {plain(key)} are not known here: {plain(error)}")
            continue
        every = {
            f for sequence in encoded[key].values() for token in sequence.features.values() for f in token.features
        }
        names[key] = names_of(reading.collection, key, every | {one.feature_id for one in chosen if one.sae == key})
    layers = dict(saes.select("sae", "layer").rows())
    values = _numbers(
        reading, rows, str(shade), layers.get(sae or "", rows["layers"][0][-1] if len(rows["layers"][0]) else 0)
    )
    return Shown(chosen, encoded, names, sae if sae in encoded else None, layers, str(shade), values, choices)


def _no_choices() -> TokenChoices:
    return TokenChoices(DENSEST[0], special=False)


def _numbers(reading: Reading, rows: pl.DataFrame, shade: str, layer: int) -> dict[int, list[float | None]]:
    """Sequence -> norms at a layer, or losses; empty if neither is asked for or known."""
    lengths = dict(rows.select("sequence_id", "n_tokens").rows())
    if shade == NORM:
        norms = norms_of(reading.collection, layer, list(lengths))
        if not norms:
            st.info(f"No residuals of layer {layer} are stored, and so no norms.")
            return {}
        st.caption(f"Norms are those of layer {layer}.")
        return {number: [norms.get((number, place)) for place in range(n)] for number, n in lengths.items()}
    if shade == LOSS:
        try:
            return losses_of(rows.row(0, named=True), dict(rows.select("sequence_id", "token_ids").rows()))
        except AtoError as error:
            st.info(f"Losses are not stored, and the model is not run here: {plain(error)}")
    return {}


def _token_texts(rows: pl.DataFrame) -> tuple[dict[int, tuple[list[str], list[bool]]] | None, str]:
    """Sequence -> texts of its tokens, joined the stored text, and which are special; None with the reason if unknown."""
    first = rows.row(0, named=True)
    try:
        known = vocabulary(first["model"], first["revision"])
        texts, found = TokenTexts(known), {}
        for row in rows.iter_rows(named=True):
            special = [token in known.special_ids for token in row["token_ids"]]
            own = list(whole_tokens(texts.of(row["token_ids"])))
            n_bos = int(row["prepend_bos"])
            found[row["sequence_id"]] = (own[:n_bos] + aligned(own[n_bos:], row["text"]), special)
    except (AtoError, IndexError) as error:
        return None, str(error)
    return found, ""


def _legend(shown: Shown) -> None:
    """The chosen features with their colours; each leads to its page."""
    if not shown.chosen:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        for one in shown.chosen:
            name = shown.names.get(one.sae, {}).get(one.feature_id, FeatureName()).name
            st.html(
                f'<span style="display:inline-block;width:14px;height:14px;border-radius:3px;background:{one.colour}"></span>',
                width="content",
            )
            link(plain(f"{one.name}: {name or 'no label'}"), "features", sae=one.sae, feature_id=one.feature_id)


def _largest(shown: Shown, one: ChosenFeature) -> float:
    """What gets a feature's deepest colour: its largest activation that was measured, or that is shown."""
    known = shown.names.get(one.sae, {}).get(one.feature_id, FeatureName()).largest or 0.0
    here = [
        value
        for of in shown.encoded.get(one.sae, {}).values()
        for token in of.features.values()
        for number, value in zip(token.features, token.activations)
        if number == one.feature_id
    ]
    return max([known, *here])


def _heading(reading: Reading, row: dict[str, Any]) -> None:
    left_out = f"{row['n_left_out']:,} tokens before it were not collected · " if row["n_left_out"] > 0 else ""
    number = row["sequence_id"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{left_out}sequence {number}, tokens {row['start']:,} to {row['stop'] - 1:,} of the document")
        for label, sql in (("Its row", SEQUENCE), ("Its tokens", TOKENS)):
            link(label, "sql_bench", sql=filled(sql, collection=reading.collection, sequence_id=number))


def _sequence(
    reading: Reading,
    row: dict[str, Any],
    text: tuple[list[str], list[bool]],
    shown: Shown,
    largest: tuple[Mapping[ChosenFeature, float], float],
) -> None:
    (tokens, special), number = text, row["sequence_id"]
    kept = [i for i, is_special in enumerate(special) if shown.choices.special or not is_special]

    def of_kept(values: Sequence[float | None]) -> list[float | None]:
        return [values[i] for i in kept]

    highlights = [
        Highlight(one.name, one.colour, of_kept(known.activations(one.feature_id, len(tokens))), largest[0][one])
        for one in shown.chosen
        if (known := shown.encoded.get(one.sae, {}).get(number)) is not None
    ]
    if number in shown.numbers:
        highlights.append(Highlight(shown.shade, GREY, of_kept(shown.numbers[number]), largest[1]))
    features: list[TokenFeatures | None] = []
    names: dict[int, FeatureName] = {}
    further: dict[str, list[float | None]] = {}
    if shown.sae and (own := shown.encoded[shown.sae].get(number)) is not None:
        names = shown.names[shown.sae]
        features = shown.choices.listed([own.features.get(i) for i in kept], names)
        further[NORM] = [own.norms.get(i) for i in kept]
    if number in shown.numbers:
        further[shown.shade] = of_kept(shown.numbers[number])
    place = reading.marked[1] if reading.marked and reading.marked[0] == number else None
    token_view(
        f"sequence {number}",
        [tokens[i] for i in kept],
        highlights,
        TokenFacts(
            kept,
            features,
            names,
            shown.sae or "",
            reading.collection,
            further,
            f"L{shown.layers[shown.sae]}/" if shown.sae else "",
        ),
        marked=kept.index(place) if place in kept else None,
        on_highlight=partial(_highlight, f"sequence {number}", shown.sae) if shown.sae else None,
    )


def _highlight(key: str, sae: str) -> None:
    """Put the feature that the reader chose in a token's list into the address."""
    chosen = st.session_state[key].get("highlight")
    if isinstance(chosen, (int, float)):
        st.query_params["features"] = with_feature(st.query_params.get("features", ""), sae, int(chosen))
