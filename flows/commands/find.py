"""``ato find``: the features of a concept, as a table or as JSON."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ato.errors import InputError
from ato.text.display import visible
from flows.settings import Settings
from tasks.report.numbers import number, with_interval
from tasks.steering.find import Wanted, find
from tasks.steering.saes import chosen_saes
from warehouse.catalog.catalog import rows

FINDS = """select f.* exclude (collection), s.top_tokens from feature_finds as f
left join latest_feature_scores as s using (collection, sae, feature_id)
where f.collection = ? and f.search = ? order by f.rank"""
WIDTH = 120
"""Width where the output is no terminal, in characters."""


def show_found(
    settings: Settings,
    collection: str,
    wanted: Wanted,
    where: tuple[Sequence[str], Sequence[int]],
    format_: str = "table",
) -> None:
    """Search unless it was done, and print what was found.

    Args:
        settings: whose model is run.
        collection: whose SAEs are searched.
        wanted: the concept.
        where: keys or folders of SAEs, and layers; without either all SAEs of the collection.
        format_: table or json.

    Raises:
        AtoError: what ``tasks.steering.find.find`` raises.
    """
    _ = wanted.texts  # refuses what says nothing before anything is loaded
    study = settings.study(collection)
    key = find(study, chosen_saes(study, *where), wanted)
    found = rows(None, FINDS, [collection, key])
    if format_ == "json":
        json.dump(found, sys.stdout, ensure_ascii=False, indent=1)
        print()
        return
    if not found:
        raise InputError("no feature fires on a text with the concept", where=key, cure="search other SAEs or layers")
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    console.print(_table(found))
    for line in _about(found[0]):
        console.print(line, markup=False)


def _table(found: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=Text(f"Features of {visible(found[0]['concept'])!r}"), title_justify="left", title_style="bold")
    table.add_column("feature", no_wrap=True)
    for name in ("AUROC", "p", "with", "without", "elsewhere", "on phrase", "own words"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("promotes", overflow="ellipsis", no_wrap=True, max_width=24)
    several = len({(one["layer"], one["sae"]) for one in found}) > len({one["layer"] for one in found})
    for one in found:
        name = f"{one['sae'] if several else 'L' + str(one['layer'])}/{one['feature_id']}"
        shares = (one[c] for c in ("share_with", "share_without"))
        others = (one[c] for c in ("auroc_elsewhere", "share_on_phrase", "auroc_own_words"))
        cells = [name, with_interval(one, "auroc"), number(one["p"], 3), *map(number, (*shares, *others))]
        table.add_row(*map(Text, cells), Text(visible(" ".join(token.strip() for token in one["top_tokens"] or []))))
    return table


def _about(one: dict[str, Any]) -> list[str]:
    """What the numbers stand on, a line each."""
    texts = "texts made of templates" if one["origin"] == "templates" else "your texts"
    by = "template" if one["origin"] == "templates" else "text"
    tokens = "" if one["tokens"] == "all" else ", tokens outside the phrase only"
    cut = f", {one['n_cut']} cut to {one['max_tokens']} tokens" if one["n_cut"] else ""
    lines = [
        f"AUROC with its 95 % interval by {by} on {one['n_with']} texts with and {one['n_without']} without; chosen on "
        f"{one['n_with_chosen']} and {one['n_without_chosen']} others ({texts}{tokens}{cut}; {one['n_features']:,} features).",
    ]
    if one["n_null"]:
        lines.append(
            f"Null: the best feature of {one['n_null']} searches for {one['null_kind']} has AUROC "
            f"{one['null_auroc_high']:.2f} at the 95th percentile; p counts those that reach a feature's own."
        )
    if one["baseline_auroc"] is not None:
        lines.append(f"Baseline: the presence of the best single token has AUROC {one['baseline_auroc']:.2f}.")
    lines.append(
        "with, without: shares of texts on which it fires; elsewhere: AUROC on tokens outside the phrase; on phrase: share "
        "of texts where it fires most on the phrase; own words: AUROC against single words of the phrase."
    )
    return lines


def read_texts(path: Path | None) -> tuple[str, ...]:
    """Texts of a file, one a line; of a ``.jsonl`` file the field ``text`` of each line. Blank lines are left out.

    Raises:
        InputError: no such file, not UTF-8, or a line that has no text.
    """
    if path is None:
        return ()
    try:
        lines = [line.strip() for line in path.expanduser().read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the file cannot be read ({type(error).__name__})", where=path, cure="give a UTF-8 text file"
        ) from None
    if path.suffix.lower() != ".jsonl":
        return tuple(lines)
    found = []
    for place, line in enumerate(lines, 1):
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError):
            text = None
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                "a line has no text", where=f"{path}, line {place}", cure='write {"text": "..."} on each line'
            )
        found.append(text)
    return tuple(found)
