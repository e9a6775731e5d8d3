"""``ato show``: what a study found, as a summary in words and tables or as a picture of it, or one stage's main table."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group
from rich.text import Text

from flows.commands.sql import show_relation
from flows.commands.summary.causal import causal_tables
from flows.commands.summary.layout import titled
from flows.commands.summary.operators import best_and_worst, efficiency_tables, transport_maps
from flows.commands.summary.queries import folded_command, queries_for
from flows.commands.summary.saes import best_features, sae_tables
from flows.commands.summary.study import collection_text, finding_texts, stage_costs, warehouse_address
from flows.stages import STAGES
from tasks.settings.report import Features
from warehouse.catalog.catalog import connect
from warehouse.catalog.sql_errors import running
from warehouse.storage.warehouse import Warehouse

WIDTH = 80
"""Width of a summary that is not printed on a terminal, in characters; every part of it fits."""

NO_FINDINGS = "Nothing is found yet: run `ato run pipeline`."


def show_summary(collection: str, features: Features = "all") -> None:
    """Print the summary of a collection, its transport map over all scored features or over the selected ones."""
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    console.print(Group(*summary(collection, console.width, features)))


def show_findings(collection: str) -> None:
    """Print what the study found, in words."""
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    console.print(Group(collection_text(collection), *(finding_texts(collection) or [Text(NO_FINDINGS)])))


def draw_summary(collection: str, path: Path, features: Features = "all") -> None:
    """Write the summary of a collection as an SVG picture that needs no external font or file."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False, force_terminal=True)
    console.print(Group(*summary(collection, WIDTH, features)))
    template = re.sub(r"@font-face\s*{{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    path.write_text(console.export_svg(code_format=template), encoding="utf-8")


def summary(collection: str, width: int, features: Features = "all") -> Iterator[Any]:
    """Parts of the summary, as rich renderables for lines of so many characters."""
    yield collection_text(collection)
    yield from finding_texts(collection)
    yield from sae_tables(collection)
    best = best_features(collection)
    if best.row_count:
        yield from titled("Selected features: the best three of each SAE, by the tokens they promote", best)
    yield from titled(
        f"Transport map: mean r2 of {'all scored' if features == 'all' else 'the selected'} SAE features under ridge "
        "(in brackets: r2 of the residual, where the target has no SAE)",
        *transport_maps(collection, width, features),
    )
    yield from titled(
        "Best fitted operator of each pair, at most three best and three worst pairs: r2 on test tokens, of the "
        "identity, skill against it, r2 of the update",
        best_and_worst(collection),
    )
    yield from titled(
        "Transport efficiency by leap: means over sources, as we correct it and as it was published",
        *efficiency_tables(collection, width),
    )
    yield from causal_tables(collection)
    yield from titled("What each stage took", stage_costs(collection))
    yield Text(f"\nTables: {warehouse_address(Warehouse())}", no_wrap=True, overflow="ignore")
    yield Text("List them with `ato tables`, query them:")
    for query in queries_for(collection):
        yield Text(
            "\n".join(folded_command(f'ato sql "{query}"', width)), style="cyan", no_wrap=True, overflow="ignore"
        )


def show_stage(stage: str, collection: str) -> None:
    """Print the main table of one stage of a collection.

    Raises:
        DamagedFileError: a table that it reads has a missing or short file.
    """
    query, connection = STAGES[stage].query, connect()
    with running(connection):
        relation = connection.sql(query, params=[collection]).materialize()
    show_relation(relation, title=f"{stage}: {collection}")
