"""A researcher's eleven questions, answered on the pages in few clicks, in a real browser.

Each begins on the first page. One click is one action of the pointer; typing into one field counts as one.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from dashboards.screenshots.browser import served, settled
from tests.dashboards.visited_pages import keep, parameters
from tests.dashboards.whole_study import STOPPING
from tests.tasks.reported_study import COLLECTION, N_FEATURES, PAIRS, SAES, SELECTED

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]
MOST = 3
"""Clicks that no question may exceed."""


@pytest.fixture(scope="module")
def address(study_root, tmp_path_factory):
    """Of the pages over the small study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(study_root))
        with served(tmp_path_factory.mktemp("server") / "dashboard.log") as found:
            yield found


@dataclass
class Researcher:
    """Somebody at a page, whose clicks are counted."""

    page: Any
    clicks: int = 0

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
def researcher(visit):
    """On the first page, on a wide screen; in the end no question took too many clicks."""
    somebody = Researcher(visit(width=1600))
    yield somebody
    assert somebody.clicks <= MOST


def _open_pair(researcher: Researcher, source: int, target: int) -> None:
    researcher.go("Transport map")
    tile = f"path[aria-roledescription='rect mark'][aria-label*='target layer: {target}'][aria-label*='source layer: {source}']"
    researcher.click(researcher.page.locator("[data-testid=stVegaLiteChart]").first.locator(tile).last, force=True)
    researcher.page.wait_for_url("**/operators?**")
    settled(researcher.page)


def test_a_which_features_are_carried_from_a_layer_and_which_computed(researcher, tmp_path):
    _open_pair(researcher, 3, 6)
    assert parameters(researcher.page)["source_layer"] == "3"
    expected = {"feature", "verdict", "r2", "r2, 95 % from", "to", "ceiling", "active test tokens"}
    assert expected <= set(researcher.columns("Features"))
    assert researcher.rows("Features") == N_FEATURES + 2, "all features, not the first ones"
    assert researcher.panel("Verdicts").get_by_text(re.compile("^computed, ")).count() == 1
    keep(researcher.page, "question-a", tmp_path)
    assert researcher.clicks <= 2


def test_b_whether_that_is_believable_stands_on_the_same_page(researcher):
    _open_pair(researcher, 3, 6)
    beside = researcher.panel("Verdicts beside the baselines")
    assert {"n_features_scored", "mean_r2", "mean_r2_low", "mean_r2_high"} <= set(
        researcher.columns("Verdicts beside the baselines")
    )
    assert "permutation null" in beside.inner_text()
    assert "identity" in beside.inner_text()
    limits = researcher.panel("Verdicts").inner_text()
    assert "Limits" in limits
    assert "95 % interval of r2 lies above the upper threshold" in limits
    assert researcher.clicks <= 2


def test_c_what_a_feature_is_about_and_where_it_stops(researcher, tmp_path):
    researcher.go("Features")
    researcher.type("Search", f"6/{STOPPING}")
    researcher.page.wait_for_url("**feature_id=**")
    settled(researcher.page)
    chosen = parameters(researcher.page)
    assert (chosen["sae"], chosen["feature_id"]) == (SAES[6], str(STOPPING))
    for about in ("Activating examples", "Logit lens", "Label"):
        researcher.panel(about)
    stop = researcher.panel("Where does it stop being transported?")
    assert "stops at leap 3: computed" in stop.inner_text()
    keep(researcher.page, "question-c", tmp_path)
    assert researcher.clicks <= 2


def test_d_what_replacing_residuals_costs_on_all_pairs_beside_the_identity(researcher, tmp_path):
    researcher.go("Causal")
    costs = researcher.panel("Cost of replacing residuals, all layer pairs")
    shown = costs.locator("[aria-roledescription='point']").or_(costs.locator(".mark-symbol path"))
    assert shown.count() >= 2 * len(PAIRS), "more than transport, on every pair"
    paired = researcher.panel("Transport minus identity, all layer pairs").inner_text()
    assert f"95 % interval excludes 0 for {len(PAIRS)} of {len(PAIRS)} pairs" in paired
    keep(researcher.page, "question-d", tmp_path)
    assert researcher.clicks <= 1


def test_e_which_sae_is_good_against_thresholds_and_published_ones(researcher, tmp_path):
    researcher.go("SAEs")
    quality = researcher.panel("Quality against thresholds and references")
    assert quality.get_by_test_id("stVegaLiteChart").count() >= 2
    said = quality.inner_text()
    for part in ("threshold", "Published SAEs", "zero ablation", "95 % intervals by document"):
        assert part in said
    keep(researcher.page, "question-e", tmp_path)
    assert researcher.clicks <= 1


def test_f_what_is_seen_can_be_sent_to_a_colleague_without_this_machine(researcher, tmp_path):
    with researcher.page.expect_download() as download:
        researcher.click(researcher.page.get_by_role("button", name=re.compile("Share$")))
    download.value.save_as(tmp_path / "site.zip")
    with ZipFile(tmp_path / "site.zip") as site:
        assert site.testzip() is None
        assert {f"{COLLECTION}/index.html", f"{COLLECTION}/site.json"} <= set(site.namelist())
    assert researcher.clicks <= 1


def test_g_two_things_stand_side_by_side(researcher, tmp_path):
    researcher.go("SAEs")
    researcher.click(researcher.page.get_by_role("link", name=re.compile("^Compare with")).first)
    researcher.page.wait_for_url(
        re.compile(r"/compare\?(?=.*left=)(?=.*right=)")
    )  # the page chooses the other side itself
    settled(researcher.page)
    sides = parameters(researcher.page)
    assert sides["left"] != sides["right"]
    assert researcher.page.get_by_test_id("stVegaLiteChart").count() >= 1
    keep(researcher.page, "question-g", tmp_path)
    assert researcher.clicks <= 2


def test_h_a_number_leads_to_its_rows_their_text_and_document(visit):
    page = visit(f"features?sae={SAES[4]}&feature_id={min(SELECTED)}")
    researcher = Researcher(page)
    examples = researcher.panel("Activating examples")
    researcher.click(examples.get_by_role("link", name=re.compile("document .*, position")).first)
    page.wait_for_url(re.compile(r"/reader\?"))
    settled(page)
    assert {"sequence", "position"} <= set(parameters(page))
    assert researcher.clicks <= 2


def test_i_features_are_found_by_words_and_by_meaning(researcher):
    researcher.go("Features")
    researcher.type("Search", "war")
    assert researcher.rows("Features found") > 0
    researcher.page.get_by_role("button", name="Search by meaning").wait_for()


def test_j_a_sentence_of_ones_own_is_asked_on_the_page_of_a_feature(visit):
    page = visit(f"features?sae={SAES[4]}&feature_id=5")
    researcher = Researcher(page)
    researcher.type("Sentence", "The war is over.")
    page.wait_for_url("**sentence=**")
    settled(page)
    assert parameters(page)["sentence"] == "The war is over."
    said = researcher.panel("A sentence of your own").inner_text()
    assert "ato activations" in said or "token" in said, "its activations, or the command where the model is not here"
    assert researcher.clicks <= 1


def test_k_a_chart_as_svg_and_a_table_as_latex(researcher):
    researcher.go("Transport map")
    researcher.clicks = 0  # of the reader who sees the chart
    researcher.click(researcher.panel("Source x target").get_by_role("button", name="Export"))
    for name, begins in (("SVG", b"<"), ("LaTeX", b"%")):
        with researcher.page.expect_download() as download:
            researcher.page.get_by_role("button", name=name, exact=True).click()
        assert Path(download.value.path()).read_bytes().startswith(begins)
    assert researcher.clicks <= 1, "and one more to either file"
