"""``ato steer``: text with and without edits of features side by side, and what the edits cost."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ato.causal.feature_edits import HOWS, UNITS
from ato.errors import SettingsError
from ato.models.generation import Decoding
from ato.text.display import visible
from flows.settings import Settings
from tasks.engine.study import Study
from tasks.steering.saes import ChosenSAE, sae_of
from tasks.steering.steer import Steering, WantedEdit, steer_features
from warehouse.catalog.catalog import rows

RUNS = "select * exclude (collection) from steering_runs where collection = ? and steering = ? order by prompt_number, sample"
READINGS = """select prompt_number, sample, edit, layer, feature_id,
    max(before) filter (text = 'unedited') as largest_unedited,
    avg(before) filter (text = 'edited' and is_edited) as before,
    avg(after) filter (text = 'edited' and is_edited) as after,
    count(*) filter (text = 'edited' and is_edited) as n_edited
from steering_readings where collection = ? and steering = ? group by all order by all"""
TOKENS = (
    "select * exclude (collection, steering) from steering_readings where collection = ? and steering = ? order by all"
)
WIDTH = 120
"""Width where the output is no terminal, in characters."""
FORM = 'write L12/345, KEY/345 or FOLDER/345, alone or with ":to:8", ":add:0.2:norm", ":scale:2" or ":ablate"'


@dataclass(frozen=True)
class Amount:
    """What is done to features that do not say it themselves."""

    how: str
    amount: float
    unit: str


def amount_of(to: float | None, add: float | None, scale: float | None, ablate: bool, unit: str) -> Amount | None:
    """The one of these options that was given; None if none was.

    Raises:
        SettingsError: several were.
    """
    given = [(how, value) for how, value in (("to", to), ("add", add), ("scale", scale)) if value is not None]
    given += [("ablate", 0.0)] if ablate else []
    if len(given) > 1:
        names = " and ".join(f"--{how}" for how, _ in given)
        raise SettingsError(f"{names} at once", cure="give one, or say it with each feature: L12/345:to:8")
    return Amount(*given[0], unit) if given else None


def show_steered(
    settings: Settings,
    collection: str,
    features: Sequence[str],
    default: Amount | None,
    run: dict[str, Any],
    format_: str = "table",
) -> None:
    """Generate unless it was done, and print both texts with what was measured.

    Args:
        settings: whose model is run.
        collection: whose SAEs are meant.
        features: such as ``L12/345`` or ``L12/345:add:0.5:norm``.
        default: for features that do not say it themselves.
        run: fields of ``Steering``, and ``decoding`` as a dictionary of those of ``Decoding``.
        format_: table or json.

    Raises:
        AtoError: what ``tasks.steering.steer.steer_features`` raises, or a feature that cannot be read.
    """
    study = settings.study(collection)
    loaded: dict[str, ChosenSAE] = {}
    edits = tuple(_edit(study, text, default, loaded) for text in features)
    key = steer_features(study, Steering(edits=edits, **run | {"decoding": Decoding(**run["decoding"])}))
    found = rows(None, RUNS, [collection, key])
    if format_ == "json":
        tokens = rows(None, TOKENS, [collection, key])
        json.dump({"runs": found, "readings": tokens}, sys.stdout, ensure_ascii=False, indent=1)
        print()
        return
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    readings = rows(None, READINGS, [collection, key])
    console.print(Text(_edits_in_words(found[0])), style="bold")
    for one in found:
        console.print(_side_by_side(one))
        for reading in readings:
            if (reading["prompt_number"], reading["sample"]) == (one["prompt_number"], one["sample"]):
                console.print(_reading(reading), markup=False)
    console.print(_cost(found[0]), markup=False)


def _edit(study: Study, text: str, default: Amount | None, loaded: dict[str, ChosenSAE]) -> WantedEdit:
    """An edit from ``SAE/FEATURE[:HOW[:AMOUNT[:UNIT]]]``."""
    name, _, rest = text.rpartition("/")
    number, *own = rest.split(":")
    if not name or not number.isdecimal() or len(own) > 3 or (own and own[0] not in HOWS):
        raise SettingsError(f"cannot read the feature {text!r}", cure=FORM)
    if not own and default is None:
        raise SettingsError(f"no edit is named for {text}", cure="give --to, --add, --scale or --ablate")
    if own:
        try:
            amount = float(own[1]) if len(own) > 1 else 0.0
        except ValueError:
            raise SettingsError(f"cannot read the amount {own[1]!r} of {text}", cure=FORM) from None
        if len(own) < 2 and own[0] != "ablate":
            raise SettingsError(f"{text} has no amount", cure=FORM)
        default = Amount(own[0], amount, own[2] if len(own) > 2 else UNITS[0])
    assert default is not None
    loaded[name] = loaded.get(name) or sae_of(study, name)
    return WantedEdit(loaded[name], int(number), default.how, default.amount, default.unit)


def _edits_in_words(one: dict[str, Any]) -> str:
    words = []
    for edit in json.loads(one["edits"]):
        unit = {"activation": "", "norm": " norms", "maximum": " maxima"}[edit["unit"]]
        amount = "" if edit["how"] == "ablate" else f" {edit['amount']:g}{unit}"
        words.append(f"L{edit['layer']}/{edit['feature_id']} {edit['how']}{amount}")
    return f"{', '.join(words)}; tokens: {one['edited_tokens']}"


def _side_by_side(one: dict[str, Any]) -> Table:
    how = "greedy" if one["sample"] == 0 else f"sample {one['sample']}, temperature {one['temperature']:g}"
    title = Text(f"{visible(one['prompt'])} … ({how})", style="bold")
    table = Table(title=title, title_justify="left", show_lines=True, expand=True)
    table.add_column("unedited", ratio=1, overflow="fold")
    table.add_column("edited", ratio=1, overflow="fold")
    table.add_row(*(Text(visible(one[f"text_{name}"], keep="\n\t")) for name in ("unedited", "edited")))
    numbers = []
    for name, other in (("unedited", "edited"), ("edited", "unedited")):
        again = one[f"repetition_{name}"]
        numbers.append(
            f"log p per token {one[f'log_p_{name}']:.2f}, in the {other} model {one[f'log_p_{name}_in_{other}']:.2f}\n"
            f"repetition {'–' if again is None else f'{again:.2f}'}, {one[f'n_tokens_{name}']} tokens"
        )
    table.add_row(*map(Text, numbers))
    kl = f"{_nats(one['kl_prompt'])} nats on the prompt, {_nats(one['kl_continuation'])} on the unedited text"
    table.caption = Text(f"KL(unedited || edited): {kl}")
    table.caption_justify = "left"
    return table


def _reading(one: dict[str, Any]) -> str:
    name = f"L{one['layer']}/{one['feature_id']}"
    unedited = f"at most {one['largest_unedited']:.2f} on the unedited text"
    if not one["n_edited"]:
        return f"{name} fires {unedited}; no token is edited"
    means = f"{one['before']:.2f} as it arrives, {one['after']:.2f} behind the edit"
    return f"{name} fires {unedited}; on the {one['n_edited']} edited tokens on average {means}"


def _cost(one: dict[str, Any]) -> str:
    if one["kl_text"] is None:
        return "Cost on held-out text: not measured"
    limits = "" if one["kl_text_low"] is None else f" [{_nats(one['kl_text_low'])}, {_nats(one['kl_text_high'])}]"
    others = f"; {_nats(one['kl_text_random'])} for moves as large along {one['n_random']} random directions"
    where = f"{one['n_text_tokens']:,} tokens of {one['n_text_documents']} documents"
    random = "" if one["kl_text_random"] is None else others
    return f"Cost on held-out text ({where}): KL {_nats(one['kl_text'])}{limits} nats per token{random}"


def _nats(value: float | None) -> str:
    """Two decimals, or two digits of what is smaller."""
    if value is None:
        return "–"
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.1e}"
