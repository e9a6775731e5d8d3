"""``ato search``: features by the texts that say what they are about, by words or by meaning."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ato.errors import InputError, UnavailableError
from ato.text.display import visible
from warehouse.catalog.catalog import rows
from warehouse.catalog.feature_names import feature_name
from warehouse.catalog.feature_search import by_meaning, by_words

WIDTH = 140
"""Width where the output is no terminal, in characters."""
BESIDE, SHORTEST = 16, 24
"""Characters of a row beside its cells; characters of a text that are shown in any case."""
SAES = "select distinct sae from feature_texts where collection = ? order by sae"
LISTS = "select list from lists"
EMBEDDINGS = "select count(*) as n from latest_embeddings where collection = ?"


def show_matches(
    text: str,
    collection: str,
    where: tuple[Sequence[str], int | None, str | None, int],
    meaning: bool | None,
    format_: str,
) -> None:
    """Search and print the features found.

    Args:
        text: of the query.
        collection: whose features are searched.
        where: keys of SAEs (none: all), a layer (None: all), a list (None: all), and rows at most.
        meaning: by meaning, or by words; None: by meaning where the texts are embedded and the encoder is installed.
        format_: table or json.

    Raises:
        InputError: no text, an unknown SAE or list, or nothing is embedded.
        UnavailableError: the sentence encoder is not installed.
    """
    saes, layer, list_, shown = where
    how: dict[str, Any] = {"saes": saes, "layer": layer, "list_": list_, "shown": shown}
    words = by_words(text, collection, **how)  # refuses what says nothing before the encoder is loaded
    known = [row["sae"] for row in rows(None, SAES, [collection])] if saes else []
    if unknown := next((sae for sae in saes if sae not in known), None):
        raise InputError(f"no texts of an SAE {unknown!r}", where=collection, cure=f"choose from {', '.join(known)}")
    lists = [row["list"] for row in rows(None, LISTS)] if list_ is not None else []
    if list_ is not None and list_ not in lists:
        raise InputError(f"no list {list_!r}", cure=f"choose from {', '.join(lists) or 'none yet: `ato list add`'}")
    meaning, hint = _chosen(text, collection, meaning)
    if meaning:
        from ato.autointerp.sentence_encoder import SentenceEncoder

        (vector,) = SentenceEncoder().encode([text])
        found = rows(None, by_meaning(vector, SentenceEncoder.name, collection, **how))
    else:
        found = rows(None, words)
    if format_ == "json":
        json.dump(found, sys.stdout, ensure_ascii=False, indent=1)
        print()
        return
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    if found:
        console.print(_table(text, found, meaning, console.width))
    console.print(_about(found, meaning), markup=False)
    if hint:
        console.print(hint, markup=False)


def _chosen(text: str, collection: str, meaning: bool | None) -> tuple[bool, str]:
    """Whether to search by meaning, and what is to be said of it."""
    from ato.autointerp.sentence_encoder import installed_archive

    embedded = rows(None, EMBEDDINGS, [collection])[0]["n"] > 0
    try:
        if meaning is not False:
            installed_archive()
    except UnavailableError as error:
        if meaning:
            raise
        return False, f"By words; to search by meaning {error.cure}, then `ato run embed`"
    if meaning and not embedded:
        raise InputError("no text is embedded yet", where=collection, cure="run `ato run embed` with the same profile")
    if meaning is None and not embedded:
        return False, "By words; to search by meaning run `ato run embed`"
    # A number is an id, as 12/658 is.
    return (meaning is True or (meaning is None and feature_name(text) is None)), ""


def _table(text: str, found: Sequence[dict[str, Any]], meaning: bool, width: int) -> Table:
    how = "by meaning" if meaning else "by words"
    table = Table(title=Text(f"Features {how}: {visible(text)!r}"), title_justify="left", title_style="bold")
    table.add_column("feature", no_wrap=True)
    numbers = ("similarity", "p", "quantile") if meaning else ()
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("found in", no_wrap=True)
    table.add_column("text", no_wrap=True)
    several = len({(one["layer"], one["sae"]) for one in found}) > len({one["layer"] for one in found})
    names = [f"{one['sae'] if several else 'L' + str(one['layer'])}/{one['feature_id']}" for one in found]
    taken = BESIDE + max(map(len, names)) + max(len(one["kind"]) for one in found) + 13 * len(numbers)
    for name, one in zip(names, found, strict=True):
        shown = Text(_one_line(one["text"]))
        shown.truncate(max(width - taken, SHORTEST), overflow="ellipsis")
        table.add_row(name, *(f"{one[column]:.3f}" for column in numbers), one["kind"], shown)
    return table


def _about(found: Sequence[dict[str, Any]], meaning: bool) -> str:
    """What the numbers stand on, in a line."""
    if not found:
        return "No feature has these words." if not meaning else "No feature has an embedded text here."
    n = found[0]["n_found"]
    if not meaning:
        return f"{n:,} features have all the words in one text, first {len(found)} shown."
    high, n_queries = found[0]["unrelated_high"], found[0]["n_queries"]
    return (
        f"{n:,} features. similarity: largest cosine of the query with a text of the feature; quantile: share of features that it "
        f"exceeds; p: share of {n_queries} unrelated queries whose best match is as similar (95th percentile {high:.3f})."
    )


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))
