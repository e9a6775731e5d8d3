"""The marts: one view for each SQL file of a folder. ``MATERIALISED`` names those that are also kept as files."""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import duckdb

from ato.causal.intervention_names import STUDY_SETS
from ato.errors import InputError
from ato.operators.methods import BASELINES
from warehouse.catalog.registered_stages import as_values
from warehouse.tables import TABLES

MATERIALISED = (
    "latest_evaluations",
    "feature_catalog",
    "feature_depth",
    "transport_map",
    "findings",
    "causal_summary",
    "latest_sae_study",
    "sae_metrics",
    "sae_comparison",
    "sae_frontier",
    "sae_probing_summary",
    "emergence_curve",
    "emergence_summary",
    "feature_cluster_overview",
    "feature_family_overview",
    "latest_labellings",
    "label_scores",
    "label_coverage",
    "feature_labelled",
    "latest_entity_results",
    "entity_knowledge",
    "entity_latent_ranking",
    "entity_latent_transport",
    "entity_layer_curves",
    "entity_classification",
    "entity_intervention_summary",
    "graph_summary",
    "graph_edge_kinds",
    "graph_attention",
    "feature_fate",
    "latest_comparisons",
)
"""Marts whose rows are kept in a file a collection: they group or join all rows of a large table, or stand on so many others that
planning them takes longer than reading what they give.

Each is by collection: its rows of a collection are made of that collection's rows of the tables alone, it has the column
``collection``, and its SQL ends with an order that begins with it.
"""
_WORD = re.compile(r"\w+")
_ORDER = re.compile(r"\norder by (?P<order>[^()]+)\Z")


def mart_texts(folder: Any = None) -> dict[str, str]:
    """Mart -> its SQL, of a folder (default: those of the warehouse).

    ``$baselines`` in a file stands for the names of the baselines, which the registry of operator methods lists;
    ``$study_sets`` for the study's sets of edited positions; ``$stages`` for the rows of ``registered_stages``.
    """
    folder = folder or resources.files("warehouse").joinpath("sql")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    lists = {"$baselines": BASELINES, "$study_sets": STUDY_SETS}
    texts = {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}
    for placeholder, names in lists.items():
        listed = f"({', '.join(map(quoted_text, names))})"
        texts = {mart: text.replace(placeholder, listed) for mart, text in texts.items()}
    return {mart: text.replace("$stages", as_values()) for mart, text in texts.items()}


def closure(sql: str, marts: Mapping[str, str]) -> set[str]:
    """All words of a statement and, transitively, of the marts that it names: a superset of the tables it reads."""
    words, new = set[str](), set(_words(sql))
    while new:
        words |= new
        new = {word for mart in new & marts.keys() for word in _words(marts[mart])} - words
    return words


@lru_cache(maxsize=1000)
def _words(sql: str) -> frozenset[str]:
    return frozenset(_WORD.findall(sql))


def create_mart_views(
    connection: duckdb.DuckDBPyConnection,
    texts: Mapping[str, str],
    *,
    comments: bool = True,
    stored: Mapping[str, str] | None = None,
    as_tables: bool = False,
) -> None:
    """Create one view for each mart: one select, the first comment line of its SQL being its meaning.

    Marts may read other marts in any order.

    Args:
        connection: with the tables.
        texts: mart -> its SQL.
        comments: whether each view carries its meaning.
        stored: mart -> another select of the same rows, from which its view is made.
        as_tables: make tables instead of views of those in ``MATERIALISED``: their rows are computed here, once.

    Raises:
        InputError: the SQL of a mart is not one select, has the name of a table, or does not fit the tables.
    """
    # Those that others read come first: an attempt that fails costs as much as the view.
    waiting = {
        mart: texts[mart] for mart in sorted(texts, key=lambda mart: len(closure(texts[mart], texts) & texts.keys()))
    }
    while waiting:
        failed: dict[str, Exception] = {}
        for mart, sql in waiting.items():
            if mart in TABLES:
                raise InputError("a mart has the name of a table", where=f"{mart}.sql", cure="rename the file")
            kind = "table" if as_tables and mart in MATERIALISED else "view"
            try:
                (select,) = duckdb.extract_statements((stored or {}).get(mart, sql))
                connection.execute(f"create {kind} {quoted_name(mart)} as {select.query}")
            except (duckdb.Error, ValueError) as error:
                failed[mart] = error
                continue
            first = sql.lstrip().splitlines()[0]
            if comments and first.startswith("--"):
                meaning = quoted_text(first.removeprefix("--").strip())
                connection.execute(f"comment on {kind} {quoted_name(mart)} is {meaning}")
        if len(failed) == len(waiting):
            mart, reason = next(iter(failed.items()))
            raise InputError(f"mart does not fit the tables: {reason}", where=f"{mart}.sql") from reason
        waiting = {mart: waiting[mart] for mart in failed}


def order_of(sql: str) -> str:
    """The columns by which a materialised mart is ordered, as text."""
    found = _ORDER.search(sql.rstrip())
    assert found is not None, "a materialised mart ends with an order"
    return found["order"]


def quoted_name(identifier: str) -> str:
    """A name as an SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def quoted_text(value: str) -> str:
    """Text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"
