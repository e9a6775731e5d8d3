"""A researcher's eleven questions, answered on the pages in few clicks, in a real browser.

The study is the planted one, or the latest with causal runs of the warehouse that ATO_TEST_WAREHOUSE names. Questions begin on the
first page, those about something that is seen where it is seen. One click is one action of the pointer; typing into a field is one.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from zipfile import ZipFile

import pytest

from dashboards.screenshots.browser import served, settled
from dashboards.ui.paged import PAGE_ROWS
from tests.dashboards.visited_pages import arrived, keep
from tests.dashboards.walked_study import Stopping, WalkedStudy, look_up
from tests.dashboards.whole_study import STOPPING
from tests.tasks.reported_study import COLLECTION, N_FEATURES, PAIRS, SAES, SELECTED

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]
MOST = 3
"""Clicks that no question may exceed."""
PLANTED = WalkedStudy(
    COLLECTION,
    Stopping(SAES[6], STOPPING, 3, 6, stops_at_leap=3, stops_as="computed"),
    n_judged=N_FEATURES + 2,
    n_pairs=len(PAIRS),
    n_told_apart=len(PAIRS),
    shown=(SAES[4], min(SELECTED)),
    is_embedded=True,
)


@pytest.fixture(scope="module")
def walked_root(study_root):
    """Of the warehouse that the pages show."""
    return os.environ.get("ATO_TEST_WAREHOUSE", str(study_root))


@pytest.fixture(scope="module")
def known(walked_root):
    """What the tables say of the study."""
    return look_up(walked_root)


@pytest.fixture(scope="module")
def documented():
    """Question -> its clicks as docs/dashboard.md says."""
    page = (Path(__file__).parents[2] / "docs" / "dashboard.md").read_text()
    return {letter: int(clicks) for letter, clicks in re.findall(r"^\| ([a-k]) \|.*\| (\d) \|$", page, re.MULTILINE)}


@pytest.fixture(scope="module")
def address(walked_root, tmp_path_factory):
    """Of the pages over the warehouse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", walked_root)
        with served(tmp_path_factory.mktemp("server") / "dashboard.log") as found:
            yield found


@dataclass
class Researcher:
    """Somebody at a page, whose clicks are counted."""

    page: Any
    collection: str
    clicks: int = 0

    def is_at(self, path: str, **said: object) -> None:
        """Begin on another page than the first: where the researcher has seen what the question is about."""
        first = urlsplit(self.page.url)
        self.page.goto(f"{first.scheme}://{first.netloc}/{path}?{urlencode({'collection': self.collection} | said)}")
        settled(self.page)

    def click(self, target: Any, **options: Any) -> None:
        """One action of the pointer."""
        target.click(**options)
        self.clicks += 1
        settled(self.page)

    def go(self, title: str) -> None:
        """Open a page by the navigation."""
        self.click(self.page.get_by_test_id("stTopNavLink").filter(has_text=re.compile(rf"{title}$")))
        self.page.locator("[data-testid=stMain] h1", has_text=re.compile(rf"^{title}$")).wait_for()
        settled(self.page)

    def type(self, label: str, text: str) -> None:
        """Type into a field."""
        field = self.page.get_by_label(label, exact=True).first
        field.fill(text)
        field.press("Enter")
        self.clicks += 1
        settled(self.page)

    def panel(self, title: str) -> Any:
        """The panel of a title; it must be there."""
        heading = self.page.get_by_role("heading", name=title, exact=True)
        heading.wait_for()
        return self.page.locator("[data-testid=stVerticalBlock]").filter(has=heading).last

    def columns(self, title: str) -> list[str]:
        """Names of the columns of a panel's table."""
        headers = self.panel(title).get_by_test_id("stDataFrame").first.locator("[role=columnheader]")
        headers.last.wait_for(state="attached")
        return [text.strip() for text in headers.all_text_contents()]

    def rows(self, title: str) -> int:
        """Number of rows of a panel's table, also of those that are not scrolled to."""
        table = self.panel(title).get_by_test_id("stDataFrame").first.locator("[role=grid]")
        table.wait_for(state="attached")
        return int(table.get_attribute("aria-rowcount")) - 1


@pytest.fixture
def researcher(visit, known, request, documented):
    """On the first page, on a wide screen; in the end the question took as many clicks as the documentation says."""
    somebody = Researcher(visit(f"?collection={known.collection}", width=1600), known.collection)
    yield somebody
    letter = request.node.name.split("_")[1]
    print(f"question {letter}: {somebody.clicks} clicks")
    assert somebody.clicks == documented[letter] <= MOST


def test_what_is_looked_up_is_what_was_planted(study_root):
    assert look_up(study_root) == PLANTED


def _open_pair(researcher: Researcher, known: WalkedStudy) -> dict[str, str]:
    """Click the pair where the feature stops on the map of all pairs; returns what the address of the operator says."""
    researcher.go("Transport map")
    layers = f"[aria-label*='target layer: {known.stopping.target_layer};'][aria-label*='source layer: {known.stopping.source_layer};']"
    tile = f"path[aria-roledescription='rect mark']{layers}"
    researcher.click(researcher.page.locator("[data-testid=stVegaLiteChart]").first.locator(tile).last, force=True)
    return arrived(researcher.page, "operators", "source_layer", "target_layer")


def test_a_which_features_are_carried_from_a_layer_and_which_computed(researcher, known, tmp_path):
    chosen = _open_pair(researcher, known)
    assert (chosen["source_layer"], chosen["target_layer"]) == (
        str(known.stopping.source_layer),
        str(known.stopping.target_layer),
    )
    expected = {"feature", "verdict", "r2", "r2, 95 % from", "to", "ceiling", "active test tokens"}
    assert expected <= set(researcher.columns("Features"))
    assert researcher.rows("Features") == min(known.n_judged, PAGE_ROWS)
    assert f"{known.n_judged:,} features" in researcher.panel("Features").inner_text(), "all of them, a page at a time"
    assert researcher.panel("Verdicts").get_by_text(re.compile(f"^{known.stopping.stops_as}, ")).count() == 1
    keep(researcher.page, "question-a", tmp_path)


def test_b_whether_that_is_believable_stands_on_the_same_page(researcher, known):
    _open_pair(researcher, known)
    beside = researcher.panel("Verdicts beside the baselines")
    assert {"features scored", "mean r2", "95 % from", "to"} <= set(researcher.columns("Verdicts beside the baselines"))
    assert "permutation null" in beside.inner_text()
    assert "identity" in beside.inner_text()
    limits = researcher.panel("Verdicts").inner_text()
    assert "Limits" in limits
    assert "95 % interval of r2 lies above the upper threshold" in limits


def test_c_what_a_feature_is_about_and_where_it_stops(researcher, known, tmp_path):
    stopping = known.stopping
    researcher.type("Search features", f"{stopping.target_layer}/{stopping.feature_id}")
    chosen = arrived(researcher.page, "features", "sae", "feature_id")
    assert (chosen["sae"], chosen["feature_id"]) == (stopping.sae, str(stopping.feature_id))
    for about in ("Activating examples", "Logit lens", "Label"):
        researcher.panel(about)
    stop = researcher.panel("Where does it stop being transported?")
    assert f"stops at leap {stopping.stops_at_leap}: {stopping.stops_as}" in stop.inner_text()
    keep(researcher.page, "question-c", tmp_path)


def test_d_what_replacing_residuals_costs_on_all_pairs_beside_the_identity(researcher, known, tmp_path):
    researcher.go("Causal")
    costs = researcher.panel("Cost of replacing residuals, all layer pairs")
    shown = costs.locator("[aria-roledescription='point']").or_(costs.locator(".mark-symbol path"))
    assert shown.count() >= 2 * known.n_pairs, "more than transport, on every pair"
    paired = researcher.panel("Transport minus identity, all layer pairs").inner_text()
    assert f"95 % interval excludes 0 for {known.n_told_apart} of {known.n_pairs} pairs" in paired
    keep(researcher.page, "question-d", tmp_path)


def test_e_which_sae_is_good_against_thresholds_and_published_ones(researcher, tmp_path):
    researcher.go("SAEs")
    quality = researcher.panel("Quality against thresholds and references")
    assert quality.get_by_test_id("stVegaLiteChart").count() >= 2
    said = quality.inner_text()
    for part in ("threshold", "Published SAEs", "zero ablation", "95 % intervals by document"):
        assert part in said
    keep(researcher.page, "question-e", tmp_path)


def test_f_what_is_seen_can_be_sent_to_a_colleague_without_this_machine(researcher, known, tmp_path):
    with researcher.page.expect_download() as download:
        researcher.click(researcher.page.get_by_role("button", name=re.compile("Share$")))
    download.value.save_as(tmp_path / "site.zip")
    with ZipFile(tmp_path / "site.zip") as site:
        assert site.testzip() is None
        assert {f"{known.collection}/index.html", f"{known.collection}/site.json"} <= set(site.namelist())


def test_g_two_things_stand_side_by_side(researcher, tmp_path):
    researcher.go("SAEs")
    researcher.click(researcher.page.get_by_role("link", name=re.compile("^Compare with")).first)
    sides = arrived(researcher.page, "compare", "left", "right")  # the page chooses the other side itself
    assert sides["left"] != sides["right"]
    assert researcher.page.get_by_test_id("stVegaLiteChart").count() >= 1
    keep(researcher.page, "question-g", tmp_path)


def test_h_a_number_leads_to_its_rows_their_text_and_document(researcher, known):
    researcher.is_at("features", sae=known.shown[0], feature_id=known.shown[1])
    examples = researcher.panel("Activating examples")
    researcher.click(examples.get_by_role("link", name=re.compile("position .*, document")).first)
    arrived(researcher.page, "reader", "sequence", "position")


def test_i_features_are_found_by_words_and_by_meaning(researcher, known, tmp_path):
    researcher.type("Search features", "war")
    assert arrived(researcher.page, "features", "search")["search"] == "war"
    assert researcher.rows("Features found") > 0
    if known.is_embedded:
        assert researcher.rows("Features by meaning") > 0
    else:
        assert researcher.page.get_by_text("ato run embed").count() == 1, "the cure in one line"
    keep(researcher.page, "question-i", tmp_path)


def test_j_a_sentence_of_ones_own_is_asked_on_the_page_of_a_feature(researcher, known, tmp_path):
    page = researcher.page
    researcher.is_at("features", sae=known.shown[0], feature_id=known.shown[1])
    researcher.type("Sentence", "The war is over.")
    assert arrived(page, "features", "sentence")["sentence"] == "The war is over."
    answered = re.compile(r"Fires on \d+ of \d+ tokens|the model is not on this machine")
    researcher.panel("A sentence of your own").get_by_text(answered).wait_for()
    assert "ato activations" in researcher.panel("A sentence of your own").inner_text()
    keep(page, "question-j", tmp_path)


def test_k_a_chart_as_svg_and_a_table_as_latex(researcher):
    researcher.is_at("transport")
    researcher.click(researcher.panel("Source × target").get_by_role("button", name="Export"))
    for name, begins in (("SVG", b"<"), ("LaTeX", b"%")):
        with researcher.page.expect_download() as download:
            researcher.page.get_by_role("button", name=name, exact=True).click()
        assert Path(download.value.path()).read_bytes().startswith(begins)
    researcher.clicks += 1  # to either file
