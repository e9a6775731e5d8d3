"""Prefect's pages in a real browser: a person fills in the form of ``pipeline``, submits it and watches it finish.

The picture of the finished run is kept in the folder that ATO_TEST_ARTIFACTS names, else in the test's own folder.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.flows.running_platform import platform
from tests.flows.tiny_study import tiny_settings

pytestmark = [pytest.mark.platform, pytest.mark.timeout(1800)]

MISSING = "no Chromium: apt-get install -y --no-install-recommends chromium fonts-dejavu; pip install -e '.[dev]'"
N_TOKENS = 9_000


@pytest.fixture
def page():
    """A page of a headless Chromium that can reach nothing but this machine."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, MISSING
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail(MISSING)
    with sync_playwright() as drivers:
        browser = drivers.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        found = browser.new_page(viewport={"width": 1400, "height": 1000})
        found.set_default_timeout(120_000)
        yield found
        browser.close()


def submit(page) -> None:
    """Press the button until the page leaves the form: a server whose database is busy asks to be asked again."""
    from playwright.sync_api import TimeoutError as NotYet

    for _ in range(8):
        page.get_by_role("button", name="Submit").click()
        try:
            page.wait_for_url(lambda url: not url.split("?")[0].endswith("/run"), timeout=15_000)
        except NotYet:
            continue
        return
    pytest.fail("the form could not be submitted")


def test_a_person_starts_the_pipeline_from_its_form_and_sees_it_completed(page, tmp_path):
    outside: list[str] = []
    page.on("request", lambda request: outside.append(request.url) if "//127.0.0.1:" not in request.url else None)
    with platform(tmp_path, tiny_settings(tmp_path)) as there:
        page.goto(f"{there.address}/deployments")
        # By its address: the flow of that name has a link in the same row.
        page.locator("a[href*='/deployments/deployment/']", has_text=re.compile(r"^\s*pipeline\s*$")).first.click()
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Custom run").click()
        tokens = page.locator("xpath=(//*[contains(text(), 'N Tokens')])[1]/following::input[1]")
        assert tokens.input_value() == "12000", "the form shows the settings that were deployed"
        tokens.fill(str(N_TOKENS))
        page.screenshot(path=tmp_path / "form.png")
        submit(page)
        there.wait_for(lambda: there.finished("pipeline"), "the run to complete")
        (run,) = there.runs("pipeline")
        assert run["parameters"]["settings"]["collect"]["n_tokens"] == N_TOKENS
        assert re.fullmatch(r"pipeline model L0-3 model-corpus-9k-[0-9a-f]{8}", run["name"])
        page.goto(f"{there.address}/runs/flow-run/{run['id']}")
        page.get_by_text("Completed").first.wait_for()
        page.get_by_text(run["name"]).first.wait_for()
        picture = Path(os.environ.get("ATO_TEST_ARTIFACTS", tmp_path)) / "pipeline-completed.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=picture)
        assert not any(there.runs(name) for name in ("collect", "saes", "operators")), "a pipeline starts no other flow"
        assert not [url for url in outside if url.startswith(("http://", "https://"))], "pages ask nobody outside"
    assert there.processes() == []
