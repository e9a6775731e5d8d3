"""The dashboard on a study of 50 operators x 16,384 features: how long each page takes, and what the browser is sent.

A fresh server, a fresh headless Chromium: the first page counts from asking for its address to its last chart, the others
from the click in the menu, each twice: at first its SQL runs, then the answers are remembered. Bytes are those of the
page's own messages; the program of the pages, which a browser keeps, is not among them. Without Chromium or playwright the
pages run without a browser: no drawing, no bytes.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ato.errors import InputError
from benchmarks.generated.studies import study_key, write_study
from benchmarks.measurement import Measurement, plain, within
from benchmarks.program import run
from benchmarks.timing import seconds
from dashboards.screenshots.browser import browser, served
from warehouse.catalog.materialise import materialise
from warehouse.storage.warehouse import Warehouse

FIRST_LIMIT, LIMIT, BYTES_LIMIT = 2.0, 1.0, 1_000_000
"""Seconds until the first page stands, and each further one; bytes of a page."""
TIMEOUT = 60
QUICK_PAGES = 3
"""How many pages stand for all in a quick run."""
WHY = "about half of it is the browser's, which draws each chart: compare the further visits, without SQL"
WHY_FIRST = (
    "most of it is the browser's, which loads and compiles Streamlit's own program, 5 MB that it does not know yet: compare "
    "the second browser, for which the server has every answer ready. Imports and the first connection are done before the "
    "visit, and marts are read from files"
)
COMPARED = {"operator": "Operators", "sae": "SAEs", "collection": "Collections"}
"""Kind of thing -> its name in the field that chooses it, of those that the study has; the page starts with features."""
DRAWN = """title => {
    const app = document.querySelector('[data-testid="stApp"]'), heading = document.querySelector('h1');
    return heading?.innerText === title && app?.dataset.testScriptState === 'notRunning'
        && !document.querySelector('[data-testid="stSkeleton"], [data-stale="true"]');
}"""
"""Whether a page stands: its script has ended, and each chart has come."""
SCRIPT = """import importlib
import streamlit as st
from dashboards.ui.address import choose_collection
choose_collection(st)
importlib.import_module("{module}").page()"""


def measure(quick: bool) -> Iterator[Measurement]:
    """Seconds and bytes of each page."""
    n_features = 200 if quick else 16_384
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "warehouse")
        write_study(Warehouse(root), n_features)
        materialise(Warehouse(root), study_key(0))  # as the flow that ends a study does
        size = f"50 operators x {n_features:,} features"
        with ExitStack() as open_things:
            open_things.enter_context(patch.dict(os.environ, ATO_WAREHOUSE=str(root)))
            try:
                chromium = open_things.enter_context(browser())
            except InputError:
                yield from _without_browser(size, QUICK_PAGES if quick else None)
                return
            address = open_things.enter_context(served(Path(folder, "server.log")))
            yield from _in_browser(chromium, address, size, QUICK_PAGES if quick else None)


def _in_browser(chromium: Any, address: str, size: str, n_pages: int | None) -> Iterator[Measurement]:
    titles = dict(islice(_titles().items(), n_pages))
    page, received = chromium.new_page(viewport={"width": 1280, "height": 1000}), [0]

    def count(frame: str | bytes) -> None:
        received[0] += len(frame)

    page.on("websocket", lambda socket: socket.on("framereceived", count))
    for place, (name, title) in enumerate(titles.items()):
        received[0] = 0
        taken = seconds(lambda: _visit(page, name, title, address if place == 0 else None))[0]  # noqa: B023
        what = f"first page ({name}) of a fresh server" if place == 0 else f"page {name}, first visit"
        yield within(
            f"{what}, {size}",
            "s",
            taken,
            at_most=FIRST_LIMIT if place == 0 else LIMIT,
            why_missed=WHY_FIRST if place == 0 else WHY,
        )
        if place == 0:
            again = chromium.new_context(viewport={"width": 1280, "height": 1000}).new_page()
            taken = seconds(lambda: _visit(again, name, title, address))[0]  # noqa: B023
            yield plain(f"{what}, by a second browser that keeps nothing, {size}", "s", taken)
            again.context.close()
        yield within(f"page {name}, sent to the browser, {size}", "bytes", received[0], at_most=BYTES_LIMIT)
    for name, title in titles.items():
        taken = seconds(lambda: _visit(page, name, title, None))[0]  # noqa: B023
        yield plain(f"page {name}, further visit, {size}", "s", taken)
    if "compare" in titles:
        yield from _comparisons(page, received, size)


def _comparisons(page: Any, received: list[int], size: str) -> Iterator[Measurement]:
    """The page that compares two features at first, with each other kind of which there is anything."""
    for kind, label in COMPARED.items():
        received[0] = 0
        taken = seconds(lambda: _choose_kind(page, kind, label))[0]  # noqa: B023
        yield within(f"page compare, two {kind}s, first visit, {size}", "s", taken, at_most=LIMIT, why_missed=WHY)
        yield within(
            f"page compare, two {kind}s, sent to the browser, {size}", "bytes", received[0], at_most=BYTES_LIMIT
        )


def _visit(page: Any, name: str, title: str, address: str | None) -> None:
    """Go to a page, by its address or by the menu, and wait until it stands."""
    if address is not None:
        page.goto(address, wait_until="commit")
    else:
        _link(page, title).click()
    page.wait_for_function(DRAWN, arg=title, timeout=TIMEOUT * 1000)
    assert not page.locator('[data-testid="stException"]').count(), f"page {name} fails"


def _link(page: Any, title: str) -> Any:
    """The link of a page in the menu, whose last ones stand in a list where the window is too narrow for all."""
    named = re.compile(rf"{title}$")
    shown = page.get_by_test_id("stTopNavLink").filter(has_text=named)
    hidden = "link => link.closest('[inert]') !== null || !link.checkVisibility({opacityProperty: true})"
    if shown.count() and not shown.evaluate(hidden):
        return shown
    page.get_by_test_id("stTopNav").get_by_text(re.compile(r"^\s*\d+ more")).click()
    return page.get_by_test_id("stTopNavDropdownLink").filter(has_text=named)


def _choose_kind(page: Any, kind: str, label: str) -> None:
    """Choose a kind on the page ``compare``, and wait until its first two stand there."""
    if not page.get_by_role("combobox", name="Kind").count():
        _visit(page, "compare", _titles()["compare"], None)
    page.get_by_role("combobox", name="Kind").click()
    page.get_by_role("option", name=label, exact=True).click()
    page.wait_for_url(f"**left={kind}%3A?**")
    page.wait_for_function(DRAWN, arg=_titles()["compare"], timeout=TIMEOUT * 1000)
    assert not page.locator('[data-testid="stException"]').count(), "page compare fails"


def _without_browser(size: str, n_pages: int | None) -> Iterator[Measurement]:
    from streamlit.testing.v1 import AppTest

    from dashboards.ui.navigation import PAGES

    for place, (name, page) in enumerate(islice(PAGES.items(), n_pages)):
        app = AppTest.from_string(SCRIPT.format(module=page.module), default_timeout=TIMEOUT)
        taken = seconds(app.run)[0]
        assert not app.exception, f"page {name} fails"
        what = f"first page ({name})" if place == 0 else f"page {name}, first visit"
        yield within(f"{what}, no browser, {size}", "s", taken, at_most=FIRST_LIMIT if place == 0 else LIMIT)


def _titles() -> dict[str, str]:
    """Page -> its title."""
    from dashboards.ui.navigation import PAGES

    return {name: page.title for name, page in PAGES.items()}


if __name__ == "__main__":
    sys.exit(run("dashboards", measure, __doc__))
