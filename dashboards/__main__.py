"""Serve the dashboard and open the warehouse before the first visit: ``python -m dashboards [OPTION ...]``.

Options are those of ``streamlit run``, such as ``--server.port 8501``. A server that is reached by a name, not by its
address, is told that name: ``--server.allowedHosts lab.example.org``.
"""

import importlib
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

from ato.errors import AtoError

PATIENCE = 10
"""Seconds after which the server answers though the warehouse is not yet open, as on a slow store."""


def main() -> None:
    """Serve until stopped; whoever is answered need not wait for imports."""
    from streamlit.web import cli

    prepared = [Thread(target=prepare, daemon=True) for prepare in (_open, _import)]
    for thread in prepared:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in prepared:
        thread.join(max(0, end - time.monotonic()))
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("served.py")), *sys.argv[1:]]
    cli.main()


def _open() -> None:
    """Open the warehouse, which is DuckDB's work, beside the imports; an error is left for the first visit to show."""
    from dashboards.ui.reading import ask

    with suppress(AtoError):
        ask("from collections limit 0")


def _import() -> None:
    """Import the pages and what draws their charts."""
    import altair as alt
    import pandas as pd

    from dashboards.ui.drawing import draw_quickly
    from dashboards.ui.navigation import PAGES

    alt.Chart(pd.DataFrame({"x": [0]})).mark_point().encode(x=alt.X("x:Q")).to_dict()
    draw_quickly()
    for page in PAGES.values():
        importlib.import_module(page.module)


if __name__ == "__main__":
    main()
