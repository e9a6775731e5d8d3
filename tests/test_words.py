"""The words of pages, commands, reports, errors and docs: phrases that were put right once do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTEAD = {
    "surely high": "95 % interval above 0.7",
    "from drawing test documents again": "from resampling test documents",
    "have none in the tables": "no intervals for",
    "colours stop at the ends": "colours are clipped to the scale",
    "does not hold linearly": "is not linearly represented",
    "that lose most": "the largest losses",
    "a curve that still rises": "still rising: more data would help",
    "svd cut": "truncated SVD",
    "growing eigenvalues": "eigenvalues with modulus > 1",
    "where it comes from, and how to load": "provenance and loading",
    "leaving the source as it is": "the identity map",
    "a click on a row": "tick a row to open",
    "no feature fits": "no matches",
    "take the filters away": "clear the filters",
    "nobody has explained": "no explanation available",
    "token made the example": "token is the peak",
    "up to quantile 0.25": "bottom quartile",
    "nats a token": "nats per token",
    "dearest": "most costly",
    "hurt most": "largest loss changes",
    "misses a limit of": "fails a quality threshold",
    "tenth of a power of ten": "0.1 decades",
    "expectations hold": "checks passed",
    "reading statement": "read-only statement",
    "what is complete is skipped": "completed stages are skipped",
    "downloads are not in it": "excludes downloads",
    "failed runs left behind": "leftovers of failed runs",
    "default the latest": "default: latest",
    "held-in text": "training text",
    "features a box": "features per box",
    "of the resamples": "of the bootstrap",
}
"""Phrase -> what a native expert writes."""
ROOMS = ("ato", "warehouse", "tasks", "flows", "dashboards", "benchmarks", "examples", "docs", "README.md")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """All texts of the product by path, each in one line."""
    files = [
        file for room in ROOMS for file in ([ROOT / room] if room.endswith(".md") else sorted((ROOT / room).rglob("*")))
    ]
    paths = [file for file in files if file.suffix in (".py", ".sql", ".md", ".yaml", ".html", ".js")]
    return {
        str(path.relative_to(ROOT)): re.sub(r'["\s]+', " ", path.read_text(encoding="utf-8")).lower() for path in paths
    }


@pytest.mark.parametrize("phrase", INSTEAD)
def test_a_phrase_that_was_put_right_does_not_come_back(texts, phrase):
    found = [path for path, text in texts.items() if phrase in text]
    assert not found, f"write {INSTEAD[phrase]!r}"
