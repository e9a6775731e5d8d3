"""``ato fate``: the lives of features through the layers, or how often the views of all fates agree."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ato.errors import InputError
from ato.text.display import visible
from tasks.report.numbers import number, with_interval
from warehouse.catalog.catalog import rows
from warehouse.catalog.feature_names import feature_name

SAES = """select sae, layer, d_sae from saes
where collection = ? and (sae = ? or layer = ?) order by layer, sae"""
LIFE = (
    "select * exclude (collection) from feature_life where collection = ? and sae = ? and feature_id = ? order by layer"
)
VIEWS = "select * exclude (collection) from feature_fate where collection = ? and sae = ? and feature_id = ? order by source_layer"
TOKENS = "select top_tokens from latest_feature_scores where collection = ? and sae = ? and feature_id = ?"
COUNTS = """select source_layer, target_layer, count(*) as features, count(*) filter (fate = 'carried') as carried,
    count(*) filter (fate = 'rewritten') as rewritten, count(*) filter (fate = 'computed') as computed,
    count(*) filter (fate = 'undetermined') as undetermined, count(*) filter (views_disagree) as views_disagree,
    count(agreement) as ablated, median(agreement) as median_agreement
from feature_fate where collection = ? and r2 is not null group by all order by target_layer, source_layer"""
AGREEMENT = """select view, against, n, n_features, agreed, by_chance, kappa, kappa_low, kappa_high
from fate_agreement where collection = ? and target_layer is null"""
WIDTH = 140
"""Width where the output is no terminal, in characters."""
EMPTY = "run `ato run fate` first"


def show_fate(
    collection: str, features: Sequence[str] = (), format_: str = "table", picture: Path | None = None
) -> None:
    """Print the lives of features, ``L12/345`` or ``KEY/345``; without one how many have which fate, and how views agree.

    Args:
        collection: its key.
        features: as they are written above.
        format_: ``table`` or ``json``: an object of one feature, a list of several.
        picture: PNG file for their views by layer.

    Raises:
        InputError: no such feature, a picture of none, or the stage has not run.
    """
    if picture is not None and not features:
        raise InputError("no feature is named", where=picture, cure="name those to draw, such as L12/345")
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    lives = [_life(collection, feature) for feature in features]
    if picture is not None:
        _draw(collection, lives, picture)
    if format_ == "json":
        found = (lives if len(lives) > 1 else lives[0]) if lives else _overview(collection)
        json.dump(found, sys.stdout, ensure_ascii=False, indent=1)
        print()
        return
    tables = [part for life in lives for part in _life_tables(life)] or _overview_tables(_overview(collection))
    for part in tables:
        console.print(part)


def _draw(collection: str, lives: Sequence[dict[str, Any]], picture: Path) -> None:
    from tasks.report.fate import lives_picture
    from tasks.report.panels import open_scope
    from warehouse.storage.warehouse import Warehouse

    drawn = lives_picture(open_scope(Warehouse(), collection), [(life["sae"], life["feature_id"]) for life in lives])
    picture.write_bytes(drawn)


def _overview(collection: str) -> dict[str, Any]:
    counts = rows(None, COUNTS, [collection])
    if not counts or not rows(None, "select 1 from feature_links where collection = ? limit 1", [collection]):
        raise InputError("no feature fates yet", where=collection, cure=EMPTY)
    return {"fates": counts, "agreement": rows(None, AGREEMENT, [collection])}


def _life(collection: str, feature: str) -> dict[str, Any]:
    named = feature_name(feature)
    if named is None or (named.layer is None and named.sae is None):
        raise InputError(f"cannot read the feature {feature!r}", cure="write 12/345, L12/345 or KEY/345")
    saes = rows(None, SAES, [collection, named.sae, named.layer])
    if len(saes) != 1:
        known = ", ".join(row["sae"] for row in saes or rows(None, "from saes where collection = ?", [collection]))
        what = (
            f"no SAE {named.sae!r}"
            if named.sae
            else f"layer {named.layer} has {len(saes) or 'no'} SAE{'s' * bool(saes)}"
        )
        raise InputError(what, where=collection, cure=f"name one: {known or 'none yet, run `ato run saes`'}")
    sae, feature_id = saes[0]["sae"], named.feature_id
    if feature_id >= saes[0]["d_sae"]:
        raise InputError(f"{sae} has no feature {feature_id}", cure=f"use 0 to {saes[0]['d_sae'] - 1}")
    own = [collection, sae, feature_id]
    life = rows(None, LIFE, own)
    if not life:
        raise InputError(f"feature {feature_id} of {sae} has no fate", where=collection, cure=EMPTY)
    tokens = rows(None, TOKENS, own)
    about = {"sae": sae, "layer": saes[0]["layer"], "feature_id": feature_id}
    return about | {
        "top_tokens": tokens[0]["top_tokens"] if tokens else [],
        "life": life,
        "views": rows(None, VIEWS, own),
    }


def _overview_tables(found: dict[str, Any]) -> list[Any]:
    fates = _table(
        "pair", "scored", "carried", "rewritten", "computed", "undetermined", "disagree", "ablated", "agreement"
    )
    for row in found["fates"]:
        numbers = [f"{row[name]:,}" for name in ("features", "carried", "rewritten", "computed", "undetermined")]
        more = f"{row['views_disagree']:,}", f"{row['ablated']:,}", number(row["median_agreement"])
        fates.add_row(f"{row['source_layer']} → {row['target_layer']}", *numbers, *more)
    views = _table("view", "against", "n", "features", "agree", "by chance", "kappa")
    for row in found["agreement"]:
        shares = f"{row['agreed']:.2f}", f"{row['by_chance']:.2f}"
        views.add_row(
            row["view"], row["against"], f"{row['n']:,}", f"{row['n_features']:,}", *shares, with_interval(row, "kappa")
        )
    return [
        Text("Fates of the scored features; agreement: median over those ablated", style="bold"),
        fates,
        Text(
            "Agreement of two views where both have decided: Cohen's kappa, 0 at chance, 1 at full agreement",
            style="bold",
        ),
        views,
    ]


def _life_tables(found: dict[str, Any]) -> list[Any]:
    first = found["life"][0]
    promoted = " ".join(f"«{visible(token)}»" for token in found["top_tokens"][:5])
    head = f"Feature {found['feature_id']} of {found['sae']}" + (f", promotes {promoted}" if promoted else "")
    table = _table(
        "layer", "fate", "r2", "identity", "jacobian", "null", "decoder cosine", "after T", "through", "agreement"
    )
    views = {row["source_layer"]: row for row in found["views"]}
    for row in found["life"]:
        seen = views.get(row["layer"], {})
        table.add_row(
            str(row["layer"]),
            row["fate"],
            with_interval(row, "r2"),
            *(number(seen.get(name)) for name in ("r2_identity", "r2_jacobian", "r2_null")),
            _nearest(row, "decoder_cosine", "nearest_feature"),
            _nearest(row, "transport_cosine", "transport_feature"),
            number(seen.get("through")),
            with_interval(row, "agreement"),
        )
    born = (
        f"Transported from layer {first['born_at']} on"
        if first["born_at"] < first["home_layer"]
        else "Transported from no earlier layer"
    )
    seen_birth = "" if first["birth_seen"] else " (it may be older: no earlier layer with an SAE lacks it)"
    until = f"; recognised up to layer {first['lives_until']}." if first["lives_until"] > first["home_layer"] else "."
    parts: list[Any] = [Text(head, style="bold"), table, Text(f"{born}{seen_birth}{until}")]
    for row in found["views"]:
        said = {name.removeprefix("verdict_"): row[name] for name in row if name.startswith("verdict_")}
        if row["views_disagree"]:
            for_, against = (
                [view for view, word in said.items() if word == one] for one in ("transported", "computed")
            )
            parts.append(
                Text(
                    f"From layer {row['source_layer']} views disagree: transported by {', '.join(for_)}; computed by {', '.join(against)}."
                )
            )
    return parts


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head)
    return table


def _nearest(row: dict[str, Any], cosine: str, feature: str) -> str:
    return "–" if row[cosine] is None else f"{row[cosine]:.2f} ({row[feature]})"
