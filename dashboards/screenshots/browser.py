"""The pages in headless Chromium, for screenshots and tests."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ato.errors import InputError

START_SECONDS = 60
MISSING = "install them: `apt-get install -y chromium fonts-dejavu` and run `make install`"


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium driven by Playwright, closed at the end of the block.

    Raises:
        InputError: Chromium or Playwright is not installed.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise InputError("no Chromium on this machine", cure=MISSING)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("Playwright is not installed", cure=MISSING) from None
    with sync_playwright() as drivers:
        found = drivers.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield found
        finally:
            found.close()


@contextmanager
def served(log: Path) -> Iterator[str]:
    """Serve the pages on a free loopback port until the block ends; gives their address.

    Args:
        log: file for the server's output.

    Raises:
        InputError: the server exits or does not answer in time; names the log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "dashboards", "--server.port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
    try:
        _wait(server, address, log)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise InputError(f"the dashboard's server ended with {server.returncode}", cure=f"read {log}")
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise InputError(f"the dashboard did not answer in {START_SECONDS} s", cure=f"read {log}")


def settled(page: Any) -> None:
    """Wait until a page has run and finished drawing."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_function(
        "document.querySelector('[data-testid=stMain] h1') && !document.querySelector('[data-testid=stSkeleton]')"
        " && !document.querySelector('[data-stale=true]')"
    )
