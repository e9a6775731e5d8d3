"""Serve the dashboard and open the warehouse before the first visit: ``python -m dashboards [OPTION ...]``.

Options are those of ``streamlit run``, such as ``--server.port 8501``. A server that is reached by a name, not by its
address, is told that name: ``--server.allowedHosts lab.example.org``.
"""

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

from ato.errors import AtoError


def main() -> None:
    """Serve until stopped."""
    from streamlit.web import cli

    for prepare in (_open, _import):
        Thread(target=prepare, daemon=True).start()
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("served.py")), *sys.argv[1:]]
    cli.main()


def _open() -> None:
    """Open the warehouse, which is DuckDB's work, beside the imports; an error is left for the first visit to show.

    Nothing more: it would take the time of the first visitor, who may be there already.
    """
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
