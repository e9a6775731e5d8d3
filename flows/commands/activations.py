"""``ato activations``: a text of one's own, with the activation of a feature at every token."""

import json
import sys

from rich.console import Console
from rich.style import Style
from rich.text import Text

from ato.errors import SettingsError
from ato.features.text_activations import SearchedSAE
from ato.features.text_reading import TextReading, read_text
from ato.text.display import visible
from flows.settings import Settings
from tasks.engine.model_cache import language_model
from tasks.steering.saes import sae_of

FORM = "write L12/345, KEY/345 or FOLDER/345"
STRONG = 0.5
"""Of the largest activation: tokens from here on are set in bold too, for those who see no colour."""


def show_activations(settings: Settings, collection: str, text: str, feature: str, format_: str = "table") -> None:
    """Run the model on the text and print it with the feature's activations; nothing is stored.

    Args:
        settings: whose model is run.
        collection: whose SAE is meant.
        text: of the user.
        feature: such as ``L12/345``, ``KEY/345`` or ``FOLDER/345``.
        format_: table or json.

    Raises:
        AtoError: the feature cannot be read, or what ``read_text`` and ``sae_of`` raise.
    """
    name, _, number = feature.rpartition("/")
    if not name or not number.isdecimal():
        raise SettingsError(f"cannot read the feature {feature!r}", cure=FORM)
    study = settings.study(collection)
    chosen = sae_of(study, name)
    study.check_same_model()
    searched = SearchedSAE(chosen.key, chosen.layer, chosen.sae, chosen.site)
    bos = bool(study.row.made_with["prepend_bos"])
    reading = read_text(language_model(study.model), searched, int(number), text, prepend_bos=bos)
    if format_ == "json":
        rows = [
            {"token": token, "activation": value}
            for token, value in zip(reading.tokens, reading.activations, strict=True)
        ]
        found = {
            "sae": chosen.key,
            "layer": chosen.layer,
            "feature_id": int(number),
            "n_cut": reading.n_cut,
            "tokens": rows,
        }
        json.dump(found, sys.stdout, ensure_ascii=False, indent=1)
        print()
        return
    console = Console(highlight=False)
    console.print(_coloured(reading), soft_wrap=True)
    for token, value in zip(reading.tokens, reading.activations, strict=True):
        if value:
            console.print(f"{value:9.3f}  {visible(token)!r}", markup=False)
    console.print(_summary(reading, f"L{chosen.layer}/{number}"), markup=False)


def _coloured(reading: TextReading) -> Text:
    """The text, tokens on which the feature fires underlined, the strong ones bold."""
    shown = Text()
    for token, value in zip(reading.tokens, reading.activations, strict=True):
        style = Style(underline=True, bold=value >= STRONG * reading.largest) if value else Style()
        shown.append(visible(token, keep="\n\t"), style)
    return shown


def _summary(reading: TextReading, name: str) -> str:
    read = [value for value in reading.activations if value is not None]
    n = sum(value > 0 for value in read)
    cut = f"; the last {reading.n_cut} tokens were cut off" if reading.n_cut else ""
    most = f", at most {reading.largest:.3f}" if n else ""
    return f"{name} fires on {n} of {len(read)} tokens{most}; the first and special tokens are not read{cut}"
