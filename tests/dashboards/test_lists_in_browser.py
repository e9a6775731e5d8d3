"""Lists and notes in a real browser: a new name makes a list, a note is there at once, another reader sees both."""

import re
import shutil

import pytest

from dashboards.screenshots.browser import served, settled
from tests.dashboards.visited_pages import keep
from tests.tasks.reported_study import SAES
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def root(study_root, tmp_path_factory):
    """A copy of the small study."""
    return shutil.copytree(study_root, tmp_path_factory.mktemp("lists") / "warehouse")


@pytest.fixture(scope="module")
def address(root, tmp_path_factory):
    """Of the pages over it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(root))
        with served(tmp_path_factory.mktemp("server") / "dashboard.log") as found:
            yield found


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_a_reader_makes_a_list_and_a_note_and_another_reader_sees_them(visit, root, tmp_path, width, scheme):
    name, text = f"list at {width}", f"noted at {width}"
    where = f"features?sae={SAES[4]}&feature_id=3"
    page = visit(where, width=width, color_scheme=scheme)
    page.get_by_role("button", name=re.compile("Add to list|Lists: ")).click()
    field = page.locator("[data-testid=stMultiSelect] input")
    field.fill(name)
    field.press("Enter")
    page.locator("[data-testid=stMultiSelect]").get_by_text(name).first.wait_for()
    page.keyboard.press("Escape")
    page.get_by_label("New note").fill(text)
    page.get_by_role("button", name="Add note").click()
    page.get_by_text(text).first.wait_for()
    settled(page)
    keep(page, f"lists-{width}", tmp_path)
    store = Warehouse(root)
    assert name in {row["list"] for row in rows(store, "from list_members where feature_id = 3")}
    assert text in {row["text"] for row in rows(store, "from notes")}
    other = visit(where, width=width, color_scheme=scheme)
    other.get_by_text(text).first.wait_for()
    other.get_by_role("button", name=re.compile("Lists: ")).first.wait_for()
    assert other.evaluate("document.documentElement.scrollWidth") <= width
