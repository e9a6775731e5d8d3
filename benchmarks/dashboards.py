"""The dashboard on a study of 50 operators x 16,384 features: how long each page takes, and what the browser is sent.

A fresh server, a fresh headless Chromium: the first page counts from asking for its address to its last chart, the others
from the click in the menu, each twice: at first its SQL runs, then the answers are remembered. Behind them come places within
pages: one feature, one document, two things of a kind. Bytes are those of the page's own messages; the program of the pages, which
a browser keeps, is not among them. Without Chromium or playwright the pages run without a browser: no drawing, no bytes.
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
from urllib.parse import parse_qsl

from ato.errors import InputError
from benchmarks.generated.further_stages import write_stages
from benchmarks.generated.pairs import TARGETS
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
PLACES = {
    "one feature": ("features", f"sae=sae-layer{TARGETS[-1]}&feature_id=7"),
    "label of a feature": ("features", f"sae=sae-layer{TARGETS[-1]}&feature_id=7&part=What%20its%20label%20rests%20on"),
    "one document": ("reader", "sequence=8"),
    "fit of an operator": ("operators", "part=Fit%20and%20spectrum"),
    "one SAE of a study": ("sae_study", "part=One%20SAE"),
    **{f"two {kind}s": ("compare", f"left={kind}:") for kind in ("feature", "operator", "sae", "graph")},
    "two entities": ("compare", "left=entity:"),
}
"""What a place within a page shows -> the page, and what its address says."""
BETWEEN = "reference"
"""Page that is left for each of these places."""
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
        write_stages(Warehouse(root), n_features)
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
    if BETWEEN in titles:
        yield from _places(page, titles, received, size)


def _places(page: Any, titles: dict[str, str], received: list[int], size: str) -> Iterator[Measurement]:
    for what, (name, parameters) in PLACES.items():
        _visit(page, BETWEEN, titles[BETWEEN], None)
        received[0] = 0
        taken = seconds(lambda: _follow(page, name, titles[name], parameters))[0]  # noqa: B023
        yield within(f"{what} (page {name}), first visit, {size}", "s", taken, at_most=LIMIT, why_missed=WHY)
        yield within(f"{what} (page {name}), sent to the browser, {size}", "bytes", received[0], at_most=BYTES_LIMIT)


def _visit(page: Any, name: str, title: str, address: str | None) -> None:
    """Go to a page, by its address or by the menu, and wait until it stands."""
    if address is not None:
        page.goto(address, wait_until="commit")
    else:
        _link(page, title).click()
    _wait(page, name, title)


def _wait(page: Any, name: str, title: str) -> None:
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


def _follow(page: Any, name: str, title: str, parameters: str) -> None:
    """Go to a place within a page as a link does: the program of the pages stays."""
    collection = f"collection={study_key(0)}"
    page.evaluate(
        "address => { history.pushState(null, '', address); dispatchEvent(new PopStateEvent('popstate')); }",
        f"/{name}?{collection}&{parameters}",
    )
    _wait(page, name, title)


def _without_browser(size: str, n_pages: int | None) -> Iterator[Measurement]:
    from streamlit.testing.v1 import AppTest

    from dashboards.ui.navigation import PAGES

    visits = {f"page {name}": (name, "") for name in islice(PAGES, n_pages)} | ({} if n_pages else PLACES)
    for place, (what, (name, parameters)) in enumerate(visits.items()):
        app = AppTest.from_string(SCRIPT.format(module=PAGES[name].module), default_timeout=TIMEOUT)
        for key, value in parse_qsl(parameters, keep_blank_values=True):
            app.query_params[key] = value
        taken = seconds(app.run)[0]
        assert not app.exception, f"{what} fails"
        at_most = FIRST_LIMIT if place == 0 else LIMIT
        yield within(f"{what}, first visit, no browser, {size}", "s", taken, at_most=at_most)


def _titles() -> dict[str, str]:
    """Page -> its title."""
    from dashboards.ui.navigation import PAGES

    return {name: page.title for name, page in PAGES.items()}


if __name__ == "__main__":
    sys.exit(run("dashboards", measure, __doc__))
