"""The site of `make docs`: it builds strictly, holds every public name and notebook, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ato
import warehouse

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the site; a warning of the build is an error."""
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser fetches to show a page; links that a reader may follow are none of it."""

    def __init__(self, page: str):
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "link" and values.get("rel") != "canonical":
            self.addresses.append(values["href"])
        if tag in ("script", "img", "iframe", "source", "video", "audio", "object", "embed"):
            self.addresses += [values[name] for name in ("src", "data") if values.get(name)]


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert pages
    for page in pages:
        addresses = Loaded(page.read_text(encoding="utf-8")).addresses
        assert addresses
        assert [address for address in addresses if re.match(r"(\w+:)?//", address)] == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_every_picture_of_a_page_is_there(site):
    pictures = 0
    for page in site.glob("*.html"):
        for address in re.findall(r'<img [^>]*src="([^"]+)"', page.read_text(encoding="utf-8")):
            assert (page.parent / address).is_file(), f"{page.name}: {address}"
            pictures += 1
    assert pictures


@pytest.mark.parametrize("package", [ato, warehouse])
def test_every_public_name_has_its_entry(site, package):
    page = (site / "api" / f"{package.__name__}.html").read_text(encoding="utf-8")
    assert [name for name in package.__all__ if f'id="{package.__name__}.{name}"' not in page] == []


def test_every_notebook_is_a_page_with_its_figure(site):
    notebooks = [path.stem for path in (ROOT / "examples").glob("*.ipynb")]
    assert notebooks
    for name in notebooks:
        page = (site / "examples" / f"{name}.html").read_text(encoding="utf-8")
        assert f'src="{name}-1.png"' in page
        assert (site / "examples" / f"{name}-1.png").is_file()
