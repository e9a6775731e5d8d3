"""Serve the dashboard and open the warehouse before the first visit: ``python -m dashboards [OPTION ...]``.

Options are those of ``streamlit run``, such as ``--server.port 8501``. A server that is reached by a name, not by its
address, is told that name: ``--server.allowedHosts lab.example.org``.
"""

import importlib
import os
import socket
import sys
import time
from contextlib import suppress
from errno import EACCES, EADDRINUSE
from pathlib import Path
from threading import Thread

from ato.errors import AtoError, InputError

PATIENCE = 10
"""Seconds after which the server answers though the warehouse is not yet open, as on a slow store."""


def main() -> None:
    """Serve until stopped; whoever is answered need not wait for imports."""
    from streamlit.web import cli

    try:
        _check_port(sys.argv[1:])
    except AtoError as error:
        sys.exit(f"error: {error}")
    prepared = [Thread(target=prepare, daemon=True) for prepare in (_open, _import)]
    for thread in prepared:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in prepared:
        thread.join(max(0, end - time.monotonic()))
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("served.py")), *sys.argv[1:]]
    cli.main()


def _check_port(options: list[str]) -> None:
    """Refuse a port that is in use, if one is named; of itself Streamlit takes the next free one.

    Raises:
        InputError: the port is in use; names a free one.
    """
    port = _option(options, "port")
    if port is None or not port.isdecimal() or not 0 < int(port) < 65_536:
        return  # Streamlit says what is wrong with it
    address = _option(options, "address") or ""
    if _is_free(address, int(port)):
        return
    free = next((other for other in range(int(port) + 1, 65_536) if _is_free(address, other)), 0)
    raise InputError(
        f"port {port} is in use", where="--server.port", cure=f"stop what serves there, or `--server.port {free}`"
    )


def _option(options: list[str], name: str) -> str | None:
    """An option of the server as the command line or, without it, the environment has it."""
    for i, option in enumerate(options):
        key, _, value = option.partition("=")
        if key == f"--server.{name}":
            return value or "".join(options[i + 1 : i + 2])
    return os.environ.get(f"STREAMLIT_SERVER_{name.upper()}")


def _is_free(address: str, port: int) -> bool:
    try:
        socket.create_server((address, port)).close()
    except OSError as error:
        return error.errno not in (EACCES, EADDRINUSE)
    return True


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
