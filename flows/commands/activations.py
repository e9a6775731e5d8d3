"""``ato activations``: a text of one's own, with the activation of a feature at every token, its transport, and the losses."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from ato.errors import InputError, LayerError, SettingsError
from ato.features.text_activations import SearchedSAE
from ato.features.text_reading import TextReading, read_text
from ato.text.display import visible
from flows.settings import Settings
from tasks.engine.model_cache import language_model
from tasks.engine.study import Study
from tasks.report.numbers import number
from tasks.steering.saes import sae_of
from warehouse.catalog.feature_names import layer_named
from warehouse.catalog.lookups import operators_into

if TYPE_CHECKING:
    from ato.models import LanguageModel
    from ato.operators import TransportOperator

FORM = "write L12/345, KEY/345 or FOLDER/345"
STRONG = 0.5
"""Of the largest activation: tokens from here on are set in bold too, for those who see no colour."""
SHOWN_FEATURES = 10
"""Strongest features of each token in JSON."""
OperatorRow = dict[str, Any]


def show_activations(
    settings: Settings,
    collection: str,
    text: str,
    feature: str,
    chosen: tuple[int | None, str | None] = (None, None),
    format_: str = "table",
) -> None:
    """Run the model on the text and print it with the feature's activations; nothing is stored.

    Args:
        settings: whose model is run.
        collection: whose SAE is meant.
        text: of the user.
        feature: such as ``L12/345``, ``KEY/345`` or ``FOLDER/345``.
        chosen: source layer of the operator that predicts the activation, None for the nearest that there is; and checkpoint
            of a transcoder adapter, whose layer ``feature`` then names.
        format_: table or json.

    Raises:
        AtoError: the feature cannot be read, no operator from that layer, or what ``read_text`` and ``sae_of`` raise.
    """
    source, adapter = chosen
    name, _, feature_id = feature.rpartition("/")
    if not name or not feature_id.isdecimal():
        raise SettingsError(f"cannot read the feature {feature!r}", cure=FORM)
    study = settings.study(collection)
    with _searched(study, name, adapter) as (model, sae):
        row, operator = _operator(study, sae, source)
        bos = bool(study.row.made_with["prepend_bos"])
        reading = read_text(model, sae, int(feature_id), text, operator=operator, prepend_bos=bos)
    if format_ == "json":
        found = {"sae": sae.key, "layer": sae.layer, "feature_id": int(feature_id), "n_cut": reading.n_cut}
        operated = {name: row.get(name) for name in ("operator", "method", "source_layer")}
        json.dump(found | operated | {"tokens": _rows(reading)}, sys.stdout, ensure_ascii=False, indent=1)
        print()
        return
    console = Console(highlight=False)
    console.print(_coloured(reading), soft_wrap=True)
    console.print("activation  predicted  loss (nats)  token", markup=False)
    for token in _rows(reading):
        if token["activation"]:
            numbers = f"{token['activation']:10.3f}  {number(token['predicted'], 3):>9}  {number(token['loss'], 3):>11}"
            console.print(f"{numbers}  {visible(token['token'])!r}", markup=False, soft_wrap=True)
    console.print(_summary(reading, f"L{sae.layer}/{feature_id}", row), markup=False, soft_wrap=True)


@contextmanager
def _searched(study: Study, name: str, adapter: str | None) -> Iterator[tuple["LanguageModel", SearchedSAE]]:
    """The model and what has the feature; within it, an adapter stands beside the MLPs of its checkpoint."""
    if adapter is None:
        chosen = sae_of(study, name)
        study.check_same_model()
        yield language_model(study.model), SearchedSAE(chosen.key, chosen.layer, chosen.sae, chosen.site)
        return
    from ato.saes.adapter_files import adapter_shape
    from tasks.label.adapters import adapted_model
    from tasks.label.stages import SITE_OF_ADAPTERS

    layer = layer_named(name)
    if layer is None:
        raise SettingsError(f"cannot read the layer {name!r} of the adapter", cure="write L12/345")
    folder = str(Path(adapter).expanduser().resolve())
    active = adapter_shape(folder).active_layers
    if layer not in active:
        what = f"layer {layer} has no adapter at work"
        raise LayerError(what, where=folder, cure=f"use layers of {list(active)}")
    with adapted_model(study, folder, [layer]) as one:
        features = one.adapter.layers[layer].transcoder
        yield one.lm, SearchedSAE(f"adapter-L{layer:02d}", layer, features, SITE_OF_ADAPTERS)


def _operator(study: Study, sae: SearchedSAE, source: int | None) -> tuple[OperatorRow, "TransportOperator | None"]:
    """Row and operator that predicts what the SAE reads from an earlier layer; nothing where there is none to choose."""
    from ato.operators import load_operator

    own = sae.site == study.row.site  # operators lead between the residuals of the collection's site
    known = {row["source_layer"]: row for row in operators_into(study.warehouse, study.collection, sae.layer) if own}
    if source is not None and source not in known:
        listed = ", ".join(map(str, sorted(known)))
        cure = f"choose from layers {listed}" if listed else "run `ato run operators`, or leave --source out"
        raise InputError(f"no operator from layer {source} to {sae.layer}", where=study.collection, cure=cure)
    if not known:
        return {}, None
    row = known[max(known) if source is None else source]
    return row, load_operator(study.warehouse.artifact_path(*row["path"].split("/")[1:]))


def _rows(reading: TextReading) -> list[dict[str, Any]]:
    """One a token, as they are printed."""
    predicted = reading.predicted or (None,) * len(reading.tokens)
    columns = (reading.tokens, reading.activations, predicted, reading.transported, reading.losses, reading.features)
    return [
        {
            "token": token,
            "activation": activation,
            "predicted": there,
            "transported": transported,
            "loss": loss,
            "features": None
            if features is None
            else [
                {"feature_id": feature_id, "activation": value}
                for feature_id, value in zip(features.features[:SHOWN_FEATURES], features.activations)
            ],
        }
        for token, activation, there, transported, loss, features in zip(*columns, strict=True)
    ]


def _coloured(reading: TextReading) -> Text:
    """The text, tokens on which the feature fires underlined, the strong ones bold."""
    shown = Text()
    for token, value in zip(reading.tokens, reading.activations, strict=True):
        style = Style(underline=True, bold=value >= STRONG * reading.largest) if value else Style()
        shown.append(visible(token, keep="\n\t"), style)
    return shown


def _summary(reading: TextReading, name: str, operator: OperatorRow) -> str:
    read = [value for value in reading.activations if value is not None]
    n = sum(value > 0 for value in read)
    cut = f"; the last {reading.n_cut} tokens were cut off" if reading.n_cut else ""
    most = f", at most {reading.largest:.3f}" if n else ""
    carried = ""
    if operator:
        there = sum(value is True for value in reading.transported)
        carried = f"; {there} of these transported from layer {operator['source_layer']} ({operator['method']})"
    return f"{name} fires on {n} of {len(read)} tokens{most}{carried}; the first and special tokens are not read{cut}"
