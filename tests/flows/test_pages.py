"""Prefect's pages in a real browser: a person fills in forms, submits them and watches the runs that follow.

The pictures are kept in the folder that ATO_TEST_ARTIFACTS names, else in the test's own folder.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.engine.forms import chosen
from flows.local.deployments import declared
from flows.settings import Settings, load_settings
from tests.flows.hostile_page import READ, SOCKETS, WRITTEN, attack, hostile_server, nothing_happened
from tests.flows.running_platform import ROOT, Platform, platform
from tests.flows.tiny_study import tiny_settings

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(3600)]

MISSING = "no Chromium: apt-get install -y --no-install-recommends chromium fonts-dejavu; make install"
WALK = ROOT / "tests" / "dashboards" / "test_eleven_questions.py"
N_TOKENS = 9_000
FOLLOWERS = [deployment.name for deployment in declared() if deployment.triggers]


class Person:
    """Someone at a headless Chromium that can reach nothing but this machine."""

    def __init__(self, page, there: Platform, pictures: Path):
        self.page, self.there, self.pictures = page, there, pictures
        self.outside: list[str] = []
        page.on("request", lambda request: self.outside.append(request.url))
        pictures.mkdir(parents=True, exist_ok=True)

    def picture(self, name: str) -> None:
        """Keep what is seen."""
        self.page.wait_for_timeout(1000)  # until drawn, also what slides in
        self.page.screenshot(path=self.pictures / f"{name}.png")

    def open_form(self, name: str) -> None:
        """From the list of deployments to the form of one."""
        page = self.page
        page.goto(f"{self.there.address}/deployments")
        page.get_by_placeholder("Search deployments").fill(name)  # the list shows its first page
        # By its address: the flow of that name has a link in the same row.
        link = page.locator("a[href*='/deployments/deployment/']", has_text=re.compile(rf"^\s*{name}\s*$")).first
        link.wait_for()
        self.picture("deployments")
        link.click()
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Custom run").click()
        self.field("n_tokens").wait_for()

    def field(self, title: str):
        """The first field with a title."""
        return self.page.locator(f"xpath=(//*[contains(text(), '{title}')])[1]/following::input[1]")

    def choose_profile(self, profile: str) -> None:
        """The first field of every form."""
        self.page.get_by_role("button", name="settings below", exact=True).focus()
        self.page.keyboard.press("ArrowDown")  # a form that is still being drawn closes a list opened by a click
        self.page.locator(".p-select-option", has_text=re.compile(rf"^\s*{profile}\s*$")).click()
        self.page.get_by_role("button", name=profile, exact=True).wait_for()

    def submit(self) -> None:
        """Press the button until the page leaves the form: a server whose database is busy asks to be asked again."""
        from playwright.sync_api import TimeoutError as NotYet

        for _ in range(8):
            self.page.get_by_role("button", name="Submit").click()
            try:
                self.page.wait_for_url(lambda url: not url.split("?")[0].endswith("/run"), timeout=15_000)
            except NotYet:
                continue
            return
        pytest.fail("the form could not be submitted")

    def watch(self, name: str) -> dict:
        """Look at the one run of a deployment until it has completed; returns it."""
        self.there.wait_for(lambda: self.there.runs(name)[0]["state_type"] == "RUNNING", "the run to begin")
        (run,) = self.there.runs(name)
        self.page.goto(f"{self.there.address}/runs/flow-run/{run['id']}")
        self.page.get_by_text("Artifacts", exact=True).first.click()
        self.page.get_by_text("stages").first.wait_for()
        self.picture("running")
        (run,) = self.there.wait_for(lambda: self.there.finished(name), "the run to complete", seconds=3000)
        self.page.get_by_text("Completed").first.wait_for()
        self.page.reload()  # the graph of a page that was watched leaves out what came in its last second
        self.page.get_by_text(run["name"]).first.wait_for()
        self.picture(f"{name}-completed")
        return run


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> Iterator[Platform]:
    """A platform whose forms show the tiny study."""
    folder = tmp_path_factory.mktemp("platform")
    with platform(folder, tiny_settings(folder)) as found:
        yield found
    assert found.processes() == []


@pytest.fixture(scope="module")
def chromium():
    """A browser to which all names of hostile.example are this machine."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, MISSING
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail(MISSING)
    # Chromium's own protection of this machine is off: other browsers have none.
    options = ["--host-resolver-rules=MAP *.hostile.example 127.0.0.1", "--disable-features=LocalNetworkAccessChecks"]
    with sync_playwright() as drivers:
        browser = drivers.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage", *options]
        )
        yield browser
        browser.close()


@pytest.fixture
def person(chromium, there, tmp_path, request) -> Person:
    """Someone in front of the platform, who opened the link that it printed."""
    pictures = Path(os.environ.get("ATO_TEST_ARTIFACTS", tmp_path)) / "pages" / request.node.callspec.id
    page = chromium.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.set_default_timeout(120_000)
    page.goto(there.entry)
    page.wait_for_url(lambda url: "/enter" not in url)  # the key stays in this browser
    page.wait_for_load_state("networkidle")  # pages that are left while they log in forget it
    return Person(page, there, pictures)


@pytest.mark.parametrize("name", ["127.0.0.1", "www.hostile.example"])
def test_a_hostile_page_starts_nothing_and_reads_nothing(chromium, there, tmp_path, name):
    proof = tmp_path / "proof"
    with hostile_server() as port:
        visit = attack(chromium, there, f"http://{name}:{port}/", proof)
    assert set(visit) == set(READ) | set(WRITTEN) | set(SOCKETS)
    assert set(visit.values()) == {"nothing"}, visit
    nothing_happened(there, proof)


@pytest.mark.parametrize("service", ["prefect", "mlflow", "dashboard"])
def test_a_name_that_is_made_to_resolve_to_this_machine_reads_nothing(chromium, there, tmp_path, service):
    port = there.state.addresses[service].rpartition(":")[2]
    proof, hostile = tmp_path / "proof", f"http://rebound.hostile.example:{port}/"
    visit = attack(chromium, there, hostile, proof, under=hostile.rstrip("/"))
    for what, got in visit.items():
        refused = "refused: 'rebound.hostile.example" in got
        assert refused if what in READ else refused or got == "nothing", (what, got)
    nothing_happened(there, proof)


def test_a_run_cannot_choose_its_command_even_with_the_key(there, tmp_path):
    proof = tmp_path / "proof"
    deployment = f"{there.address}/api/deployments/{there.deployment('collect')['id']}"
    with there.client() as client:
        for variables in ({"command": f"touch {proof}"}, {"env": {"PYTHONSTARTUP": "x"}}, {"working_dir": "/tmp"}):
            answer = client.post(f"{deployment}/create_flow_run", json={"job_variables": variables})
            assert answer.status_code == 422, answer.text
            client.patch(deployment, json={"job_variables": variables}).raise_for_status()  # Prefect looks at runs only
            answer = client.post(f"{deployment}/create_flow_run", json={})
            assert answer.status_code == 422, answer.text
        client.patch(deployment, json={"job_variables": {}}).raise_for_status()
    nothing_happened(there, proof)


@pytest.mark.parametrize("study", ["tiny", pytest.param("demo", marks=pytest.mark.demo)])
def test_a_person_starts_the_pipeline_from_its_form_watches_it_and_a_collection_leads_to_the_report(person, study):
    there, page = person.there, person.page
    change = fill_in_tiny if study == "tiny" else fill_in_demo
    person.open_form("pipeline")
    expected = change(person)
    person.picture("form")
    person.submit()
    run = person.watch("pipeline")
    asked = run["parameters"]
    assert {name: asked[name] for name in expected} == expected
    deployed = Settings.model_validate(there.deployment("pipeline")["parameters"]["settings"])
    assert Settings.model_validate(asked["settings"]) == deployed
    made = chosen(deployed, asked["profile"], asked.get("common"), asked.get("stages"))
    assert made.collect.n_tokens == (N_TOKENS if study == "tiny" else load_settings("demo").collect.n_tokens)
    assert re.fullmatch(r"pipeline [\w-]+ L\d+-\d+ [\w-]+-[0-9a-f]{8}", run["name"])
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("Results of").first.click()
    page.get_by_text("Report:").first.wait_for()
    person.picture("results")
    for stage in ("collect", "evaluate"):
        (latest,) = there.post("artifacts/latest/filter", artifacts={"key": {"any_": [stage]}})
        page.goto(f"{there.address}/artifacts/artifact/{latest['latest_id']}")
        page.get_by_text(f"ato show {stage}").first.wait_for()
        person.picture(f"artifact-{stage}")
    assert not any(there.runs(name) for name in ("collect", *FOLLOWERS)), "a pipeline starts no other flow"

    person.open_form("collect")
    change(person)
    person.submit()
    there.wait_for(lambda: there.finished("collect"), "the collection", seconds=3000)
    key = run["name"].split()[-1]
    for name in FOLLOWERS if study == "demo" else ["saes"]:  # the whole chain of the tiny one: test_unattended.py
        (first, *_) = there.wait_for(lambda name=name: there.finished(name), f"{name} to follow", seconds=3000)
        assert first["created_by"]["display_value"].startswith(f"ato {name} after "), "an event started it"
        assert first["parameters"]["collection"] == key, "the chain is about what the pipeline made, and skips it"
    page.goto(f"{there.address}/runs")
    page.get_by_text(f"collect {run['name'].split(' ', 1)[1]}").first.wait_for()
    person.picture("chain")
    strangers = [url for url in person.outside if url.startswith("http") and "//127.0.0.1:" not in url]
    assert strangers == [], "pages ask nobody outside"


@pytest.mark.demo
def test_the_eleven_questions_are_answered_on_what_the_demo_has_made(there):
    embedded = there.ato("run", "embed", "--profile", "demo")
    assert embedded.returncode == 0, embedded.stderr
    environment = os.environ | {"ATO_TEST_WAREHOUSE": str(there.data / "warehouse")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "platform", "-rP", str(WALK)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout


def fill_in_tiny(person: Person) -> dict:
    """Fewer tokens than the form shows."""
    tokens = person.field("n_tokens")
    assert tokens.input_value() == "", "an empty field leaves the value that was deployed"
    person.page.get_by_text("Deployed: 12000").first.wait_for()
    tokens.fill(str(N_TOKENS))
    return {"common": {"collect_n_tokens": N_TOKENS}}


def fill_in_demo(person: Person) -> dict:
    """The embedded model's study instead of the settings that the form shows."""
    person.choose_profile("demo")
    assert load_settings("demo").model.name == "smollm2-135m"
    return {"profile": "demo"}
