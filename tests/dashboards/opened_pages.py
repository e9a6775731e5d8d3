"""Opening a page without a browser, and the proof that what it shows is what its SQL gives."""

import io
import json
import math
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

import dashboards
import warehouse
from dashboards.ui.navigation import PAGES
from dashboards.ui.panels import SHOWN_ROWS

APP = Path(dashboards.__file__).with_name("app.py")
OPENINGS: dict[str, tuple[str, dict[str, str]]] = {name: (name, {}) for name in PAGES} | {
    "operators-fit": ("operators", {"part": "Fit and spectrum"}),
    "sae_study-one": ("sae_study", {"part": "One SAE"}),
}
"""All pages, and the parts on which they do not open -> page, what its address says."""
DRAWN = re.compile("dataframe|arrow|vega_lite|imgs|image|table")
"""Types of what is drawn of rows: charts, tables and pictures."""


def open_page(name: str, **address: object) -> AppTest:
    """The whole app as it stands on a page that was opened by its address.

    Fails on an exception of the page, where it shows a chart or a table without its export, and where a table would show None
    for what is missing.
    """
    app = AppTest.from_file(APP, default_timeout=60)
    # AppTest.switch_page knows only pages that are files; this is the hash that the browser would send.
    app._page_hash = "" if name == next(iter(PAGES)) else calc_hash(name)
    for key, value in address.items():
        app.query_params[key] = str(value)
    app.run()
    app._page_hash = ""  # from now on the page that it is on, also after a link has led elsewhere
    assert not app.exception, [e.value for e in app.exception]
    assert not (lacking := without_export(app)), f"no Export beside {lacking}"
    bare = [table.value.columns.tolist() for table in app.dataframe if not table.proto.placeholder]
    assert not bare, f"tables say None where a value is missing: {bare}"
    return app


def read_page(name: str, **address: object) -> AppTest:
    """The same for those who only look at it: a page that was opened before, while the warehouse has stayed as it was."""
    return _page_read(_contents(), name, tuple(sorted((key, str(value)) for key, value in address.items())))


def _contents() -> Hashable:
    """Which warehouse the pages show, and what is in it."""
    storage = warehouse.Warehouse().storage
    return storage.url(""), frozenset(
        (storage.entries("stage_runs") | storage.entries("marts") | storage.entries("list_changes")).items()
    )


@lru_cache(60)
def _page_read(contents: Hashable, name: str, address: tuple[tuple[str, str], ...]) -> AppTest:
    return open_page(name, **dict(address))


@lru_cache(4)
def _connected(contents: Hashable) -> duckdb.DuckDBPyConnection:
    return warehouse.connect()


@dataclass(frozen=True)
class Shown:
    """A panel as it stands on the page."""

    title: str
    sql: str
    rows: pl.DataFrame
    """The table under the statement."""
    drawn: tuple[pl.DataFrame, ...]
    """The data of its charts and of the tables above the statement."""
    metrics: tuple[str, ...]
    """The numbers written large."""
    note: str
    informed: tuple[str, ...]
    """What is said in place of a picture."""


def panels(app: AppTest) -> dict[str, Shown]:
    """The panels of a page by title."""
    return {found.title: found for found in map(_shown, _panel_blocks(app.main))}


def panel_starting(app: AppTest, title: str) -> Shown:
    """The only panel whose title begins so."""
    (found,) = (panel for name, panel in panels(app).items() if name.startswith(title))
    return found


def chart_specs(app: AppTest) -> list[dict[str, Any]]:
    """The Vega-Lite specifications of all charts of a page, from the top."""
    return [json.loads(leaf.proto.spec) for leaf in _leaves(app.main) if "vega_lite" in leaf.type]


def messages(app: AppTest) -> list[str]:
    """The texts of all boxes: warnings, then infos, then errors."""
    return [box.value for kind in ("warning", "info", "error") for box in app.get(kind)]


def check_numbers(app: AppTest) -> dict[str, Shown]:
    """Assert that each number shown equals the one that the shown SQL gives; returns the panels.

    Of each panel the statement is run as a user would run it, and compared with the table under it, with all data that
    its charts and tables hold, and with its metrics as far as they are rounded.
    """
    # What ends a page stands outside of its panels; a panel may show that something failed.
    ended = [child.value for child in app.main.children.values() if child.type == "error"]
    assert not ended, ended
    found = panels(app)
    assert found, "a page without panels"
    connection = _connected(_contents())
    for panel in found.values():
        rows = warehouse.run_select(connection, panel.sql).pl()
        assert panel.rows.columns == rows.columns, panel.title
        shown, given = _plain(panel.rows), _plain(rows.head(SHOWN_ROWS))
        assert shown == given, panel.title
        values = [value for row in _plain(rows) for cell in row for value in _scalars(cell)]
        numbers = set(values)
        for frame in panel.drawn:
            drawn = {_linked(value) for row in _plain(frame) for cell in row for value in _scalars(cell)}
            assert drawn <= numbers | {None}, (panel.title, sorted(map(str, drawn - numbers))[:5])
        for metric in panel.metrics:
            assert _is_rounding(metric, values), (panel.title, metric)
    return found


def without_export(app: AppTest) -> list[str]:
    """Charts, tables and pictures that stand in no block with an Export of its own, by what is near them."""
    return [
        f"{leaf.type} of {_nearby(blocks)}"
        for leaf, blocks in _with_blocks(app.main)
        if DRAWN.search(leaf.type) and not _is_empty(leaf) and not any(map(_has_export, blocks[1:]))
    ]


def _is_empty(leaf: Any) -> bool:
    """A statement that returned nothing has a table without rows, and nothing to export."""
    return leaf.type == "dataframe" and leaf.value.empty


def _with_blocks(block: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Each leaf with the blocks around it, the page first."""
    for child in block.children.values():
        if hasattr(child, "children"):
            yield from _with_blocks(child, (*above, block))
        else:
            yield child, (*above, block)


def _has_export(block: Any) -> bool:
    """Whether the button stands in the block or in its head, for that of a block within is for what is there; or its files do."""
    beside = [child for child in block.children.values() if hasattr(child, "children")]
    inner = [child for one in beside if one.type == "flex_container" for child in one.children.values()]
    popovers = [one for one in (*beside, *inner) if one.type == "popover"]
    files = any(leaf.type == "download_button" for leaf in _leaves(block))
    return files or any(one.proto.popover.label == "Export" for one in popovers)


def _nearby(blocks: tuple[Any, ...]) -> str:
    texts = [leaf.value for leaf in _leaves(blocks[-1]) if leaf.type in ("subheader", "markdown", "caption")]
    return repr(texts[0][:60] if texts else "?")


def _linked(value: Any) -> Any:
    """What a link to a flow run is about: statements hold its id only, since the link may hold a key."""
    return value.partition("/runs/flow-run/")[2] or value if isinstance(value, str) else value


def _panel_blocks(block: Any) -> Iterator[Any]:
    children = list(getattr(block, "children", {}).values())
    types = [(child.type, getattr(child, "label", None)) for child in children]
    if ("expander", "SQL") in types and "subheader" in {leaf.type for leaf in _leaves(children[0])}:
        yield block
        return
    for child in children:
        yield from _panel_blocks(child)


def _shown(block: Any) -> Shown:
    children = list(block.children.values())
    title = next(leaf for leaf in _leaves(children[0]) if leaf.type == "subheader")
    statement = next(child for child in children if child.type == "expander" and child.label == "SQL")
    pictures = [leaf for child in children if child is not statement for leaf in _leaves(child)]
    drawn = [_frame(leaf.proto.arrow_data.data) for leaf in pictures if leaf.type in ("arrow_data_frame", "dataframe")]
    for chart in (leaf.proto for leaf in pictures if "vega_lite" in leaf.type):
        drawn += [_frame(dataset.data.data) for dataset in chart.datasets]
        if chart.HasField("data"):
            drawn.append(_frame(chart.data.data))
        assert '"values"' not in json.dumps(json.loads(chart.spec).get("data", {})), (
            "a chart's data are rows of its SQL"
        )
    return Shown(
        title.value,
        statement.code[0].value,
        _frame(statement.dataframe[0].proto.arrow_data.data),
        tuple(drawn),
        tuple(leaf.value for leaf in pictures if leaf.type == "metric"),
        " ".join(leaf.value for leaf in pictures if leaf.type == "caption"),
        tuple(leaf.value for leaf in pictures if leaf.type in ("info", "alert")),
    )


def _leaves(block: Any) -> Iterator[Any]:
    children = getattr(block, "children", None)
    if children is None:
        yield block
    else:
        for child in children.values():
            yield from _leaves(child)


def _frame(data: bytes) -> pl.DataFrame:
    table = pa.ipc.open_stream(io.BytesIO(data)).read_all()
    index = [name for name in table.column_names if re.fullmatch(r"__index_level_\d+__", name)]
    return pl.DataFrame(pl.from_arrow(table.drop_columns(index)))


def _plain(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Rows of values that compare by what they are, not by how they are stored."""
    return [tuple(map(_value, row)) for row in frame.iter_rows()]


def _value(cell: Any) -> Any:
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        # Sums vary in their last digits with the order of threads, and a column of integers with gaps is one of floats.
        return None if math.isnan(cell) else float(f"{cell:.10g}")
    if isinstance(cell, (list, tuple)):
        return tuple(map(_value, cell))
    if isinstance(cell, dict):
        return tuple((key, _value(value)) for key, value in cell.items())
    return cell.isoformat() if isinstance(cell, date) else cell


def _scalars(cell: Any) -> Iterator[Any]:
    if isinstance(cell, tuple):
        for part in cell:
            yield from _scalars(part)
    else:
        yield cell


def _is_rounding(text: str, numbers: list[Any]) -> bool:
    """Whether a text is one of the values, or a rounding of one (as a share, in percent)."""
    found = re.fullmatch(r"\s*([-−+]?[\d,]*\.?\d+)\s*(%?)[^\d]*", text)
    if not found:
        return True
    written = found[1].replace(",", "").replace("−", "-")
    decimals, scale = len(written.partition(".")[2]), 100 if found[2] else 1
    half = 0.5 * 10**-decimals * 1.001
    return any(
        abs(scale * n - float(written)) <= half
        for n in numbers
        if isinstance(n, (int, float)) and not isinstance(n, bool)
    )
