"""Pages in a real browser: their pictures, and what their address says."""

import os
from pathlib import Path
from urllib.parse import parse_qs, urlparse

from dashboards.screenshots.browser import settled


def keep(page, name, tmp_path):
    """Keep a picture of a page, and assert that it shows no error."""
    folder = Path(os.environ.get("ATO_TEST_ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")
    assert page.get_by_test_id("stException").count() == 0
    assert page.get_by_test_id("stAlertContentError").count() == 0


def parameters(page):
    """What the address says the page is about."""
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


def arrived(page, path, *names):
    """Wait until a page has come up that says all of this in its address, as pages do step by step; give what it says."""
    page.wait_for_url(
        lambda url: urlparse(url).path.strip("/") == path and set(names) <= set(parse_qs(urlparse(url).query))
    )
    settled(page)
    return parameters(page)
