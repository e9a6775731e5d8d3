"""A published site in a real browser, from a bare file server's sub-folder, with every other host refused.

The warehouse is the small study, or the one that ATO_TEST_WAREHOUSE names. Pictures are kept in the folder that
ATO_TEST_ARTIFACTS names, else in the test's own folder.
"""

import csv
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlencode

import duckdb
import pytest

import warehouse
from dashboards.site.writer import write_site
from tests.dashboards.site.published import drawn, file_server
from tests.tasks.reported_study import SAES
from tests.warehouse.catalog.compared.planted import OTHER, build
from tests.warehouse.fate_rows import DIED
from tests.warehouse.graph_rows import FACTORS
from tests.warehouse.label_rows import DESCRIPTIONS, LAYER
from tests.warehouse.neuron_rows import NEURONS
from tests.warehouse.sae_study_rows import FVU
from tests.warehouse.small_warehouse import COLLECTION
from warehouse.catalog.catalog import rows

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]
OF_SITE_ALONE = ("finding_sentences", "graph_edge_influence", "example_texts")
"""Tables of the site that no warehouse has."""
LISTED = (
    "findings",
    "transport",
    "operators",
    "fate",
    "features",
    "labels",
    "compare",
    "causal",
    "graphs",
    "entities",
    "saes",
    "sae_study",
    "sql",
)
planted = pytest.mark.skipif("ATO_TEST_WAREHOUSE" in os.environ, reason="its values are not planted")
OF_SITE = """async sql => {
    const { database } = await import(new URL("app/main.js", location.href.split("#")[0]));
    return (await database.query(sql)).rows;
}"""
"""The site's own answer to a statement, with all digits."""

CUT = """() => [...document.querySelectorAll('.chart svg')].flatMap(chart => {
    const edge = chart.getBoundingClientRect();
    return [...chart.querySelectorAll('.role-legend-label text, .role-legend-title text, .role-axis-label text')].filter(label => {
        const box = label.getBoundingClientRect();
        const isWide = box.left < edge.left - 3 || box.right > edge.right + 3;
        return box.width && (isWide || box.top < edge.top - 3 || box.bottom > edge.bottom + 3);
    }).map(label => label.textContent);
})"""
"""Words of charts that begin or end outside of their chart."""
TITLES = ".chart .role-axis-title text, .chart .role-legend-title text"


@pytest.fixture(scope="module")
def root(study_root):
    """Folder of the warehouse that is published."""
    return os.environ.get("ATO_TEST_WAREHOUSE", str(study_root))


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    """The published site."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", root)
        newest_first = "select collection from collections order by created_at desc, collection"
        return write_site(
            tmp_path_factory.mktemp("www") / "share" / "study", [r["collection"] for r in rows(None, newest_first)]
        )


@pytest.fixture(scope="module")
def address(site):
    """Of the site, below two folders of a file server."""
    with file_server(site.folder.parents[1]) as found:
        yield f"{found}/share/study"


@pytest.fixture
def visit(chromium, address, root, monkeypatch):
    """Opens a page of the site; asserts in the end that none complained or asked anybody else."""
    monkeypatch.setenv("ATO_WAREHOUSE", root)
    outside, complaints, opened = [], [], []

    def passes(route):
        if route.request.url.startswith((address, "blob:", "data:")):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    def make(at="", width=1280, height=1000, **options):
        page = chromium.new_page(viewport={"width": width, "height": height}, **options)
        page.set_default_timeout(90_000)
        page.route("**/*", passes)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        opened.append(page)
        page.goto(f"{address}/#/{at}")
        drawn(page, at.split("?")[0] or LISTED[0])
        return page

    yield make
    for page in opened:
        page.close()
    assert not outside, "the site asks nobody outside"
    assert not complaints


def keep(page, name, tmp_path):
    """Keep a picture, and assert that the page shows no error."""
    folder = Path(os.environ.get("ATO_TEST_ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"site-{name}.png", full_page=True)
    assert page.locator(".wrong").count() == 0, page.locator(".wrong").all_inner_texts()


def titles_of(site):
    """Name of each page of the site that is declared -> its title."""
    return {p["name"].split("/")[0]: p["title"] for p in json.loads((site.folder / "site.json").read_text())["pages"]}


def follow(page, title, name):
    """Click a page's link in the navigation."""
    page.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
    drawn(page, name)


def plain(value):
    """A value of the warehouse as JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return pytest.approx(value, rel=1e-12, abs=1e-300) if isinstance(value, float) else value


def agree(page, connection):
    """Assert that the statements of all panels give what `ato sql` gives; returns how many rows were compared."""
    compared = 0
    for sql in page.locator("details pre code").all_text_contents():
        if any(name in sql for name in OF_SITE_ALONE):
            continue
        expected = [plain(row) for row in warehouse.run_select(connection, sql).pl().to_dicts()]
        assert page.evaluate(OF_SITE, sql) == expected, sql
        compared += len(expected)
    return compared


def panel_of(page, title):
    """The panel of a title."""
    return page.locator(".panel", has=page.get_by_role("heading", name=title, exact=True))


def test_all_pages_open_by_the_navigation_and_their_rows_are_those_of_ato_sql(visit, site, tmp_path):
    page = visit()
    titles = titles_of(site)
    connection, compared = warehouse.connect(), 0
    for name in (*(name for name in LISTED if name in titles), "feature"):
        if name == "feature":
            follow(page, titles["features"], "features")
            page.locator("tbody tr a").first.click()
            drawn(page, name)
        else:
            follow(page, titles[name], name)
        keep(page, name, tmp_path)
        assert page.title() == f"{titles[name]} · Activation transport"
        compared += agree(page, connection)
    assert compared > 100
    assert page.locator(".chart svg").count() > 0


def test_links_lead_from_the_map_to_an_operator_to_a_feature_to_its_sql_and_back(visit):
    page = visit("transport")
    page.locator(".chart path[aria-roledescription='rect mark']").last.click(force=True)
    drawn(page, "operators")
    chosen = re.search(r"source_layer=(\d+)&target_layer=(\d+)", page.url)
    assert page.locator("select[name=source_layer]").input_value() == chosen[1]
    assert page.locator("select[name=target_layer]").input_value() == chosen[2]
    page.locator(".panel", has_text="Features that it transports").locator("tbody a").first.click()
    drawn(page, "feature")
    of_feature = page.url
    assert re.search(r"feature_id=\d+", of_feature)
    page.locator("details summary").first.click()
    page.get_by_role("link", name="Open in the SQL page").first.click()
    drawn(page, "sql")
    assert "from feature_catalog" in page.locator("textarea").input_value()
    assert page.locator("#result tbody tr").count() == 1
    page.go_back()
    drawn(page, "feature")
    assert page.url == of_feature
    page.go_back()
    drawn(page, "operators")
    page.go_back()
    drawn(page, "transport")


SAID = """() => [...document.querySelectorAll('.panel')].map(panel => {
    const copy = panel.cloneNode(true), charts = [...copy.querySelectorAll('svg')];
    const drawn = charts.map(chart => [...chart.querySelectorAll('text')].map(text => text.textContent).sort());
    charts.forEach(chart => chart.remove());
    return [copy.textContent, drawn];
})"""
"""What each panel says, and the texts of its charts in order: a chart that is drawn twice writes its axes in another one."""


@pytest.mark.parametrize("kind", ["feature", "operator", "sae", "entity", "graph"])
def test_two_things_stand_side_by_side_with_the_rows_of_ato_sql_and_a_copied_link_shows_the_same(
    visit, site, tmp_path, kind
):
    if f"compare/{kind}" not in {p["name"] for p in json.loads((site.folder / "site.json").read_text())["pages"]}:
        pytest.skip("this warehouse has none")
    page = visit(f"compare?left={kind}:")
    assert page.locator("select[name=kind]").input_value() == f"{kind}:"
    sides = dict(re.findall(r"(left|right)=([^&]+)", unquote(page.url)))
    assert sides["left"] != sides["right"]
    assert {side.partition(":")[0] for side in sides.values()} == {kind}
    assert panel_of(page, "Left and right").locator(".card").count() == 2
    assert panel_of(page, "Differences").locator("tbody tr").count() > 2
    assert agree(page, warehouse.connect()) > 5
    keep(page, f"compare-{kind}", tmp_path)
    assert visit(page.url.split("#/")[1]).evaluate(SAID) == page.evaluate(SAID)
    page.get_by_role("button", name="Swap").click()
    page.wait_for_url(lambda url: f"right={sides['left']}" in unquote(url))
    drawn(page, "compare")
    phone = visit(page.url.split("#/")[1], width=400, height=860, color_scheme="dark")
    keep(phone, f"compare-{kind}-phone", tmp_path)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 400, "nothing hangs out"
    assert phone.evaluate(CUT) == [], "a legend or an axis is cut"


@planted
def test_a_page_leads_to_its_comparison_where_another_is_typed_and_names_that_are_nothing_are_told(visit):
    for at, left in {
        f"feature?sae={SAES[4]}&feature_id=1": f"feature:{SAES[4]}/1",
        "operators?source_layer=3&target_layer=6&method=identity": "operator:identity-3-6",
        f"saes?sae={SAES[6]}": f"sae:{SAES[6]}",
        "entities?entity=city-01": "entity:city-01",
        "graphs?prompt=river": "graph:river/attribution",
    }.items():
        page = visit(at)
        page.get_by_text("Compare with …").click()
        drawn(page, "compare")
        assert re.search(r"left=([^&]+)", unquote(page.url))[1] == left
        assert page.locator(".wrong").count() == 0
    page = visit(f"compare?left=feature:{SAES[4]}/1")
    page.locator("input[name=right]").fill("L6/2")
    page.locator("input[name=right]").press("Enter")
    page.locator(".card", has_text=f"feature 2 of {SAES[6]}").wait_for()
    page.locator("input[name=right]").fill("L6/99999")
    page.locator("input[name=right]").press("Enter")
    page.get_by_text("This site has no feature:L6/99999: choose another.").wait_for()
    assert page.locator(".panel").count() == 0


@planted
def test_the_difference_of_two_operators_has_the_interval_that_was_planted(visit):
    page = visit("compare?left=operator:identity-3-6&right=operator:ridge-3-6")
    row = panel_of(page, "Differences").locator("tr", has_text="mean r2 of shared features").inner_text()
    assert "+0.2" in row.split("\t")[3]
    assert "document" in row
    points = panel_of(page, "r2 of shared features").locator(
        ".chart path[aria-roledescription=point], .mark-symbol path"
    )
    assert points.count() == 20


@pytest.fixture(scope="module")
def two_collections(tmp_path_factory):
    """Folder of a warehouse of two collections, and its site."""
    built = build(tmp_path_factory.mktemp("two"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(built.root))
        return built.root, write_site(tmp_path_factory.mktemp("www") / "two", [COLLECTION, OTHER])


@planted
def test_two_collections_and_things_of_either_are_compared(two_collections, chromium, monkeypatch, tmp_path):
    root, site = two_collections
    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    connection = warehouse.connect()
    with file_server(site.folder.parent) as address:
        page = chromium.new_page(viewport={"width": 1280, "height": 1000})
        for name, at, said in (
            ("collection", f"left=collection:{COLLECTION}&right=collection:{OTHER}", "feature"),
            ("feature", f"left=feature:L4/3&right=feature:L4/8@{OTHER}", "no document in common"),
        ):
            page.goto(f"{address}/two/#/compare?{at}")
            drawn(page, "compare")
            keep(page, f"compare-two-{name}", tmp_path)
            assert said in panel_of(page, "Differences").inner_text()
            assert agree(page, connection) > 5
        page.close()


def test_a_statement_of_the_reader_gives_what_ato_sql_gives_with_types_and_dashes_for_null(visit, tmp_path):
    page = visit("sql")
    sql = "select operator, source_layer, r2_test, r2_test_low, alpha, null::double as nothing from operators order by operator"
    page.get_by_label("Statement").fill(sql)
    page.get_by_role("button", name="Run").click()
    page.locator("#result tbody tr").first.wait_for()
    heads = page.locator("#result th").all_inner_texts()
    assert heads[:3] == ["operator VARCHAR", "source_layer INTEGER", "r2_test DOUBLE"]
    assert set(page.locator("#result tbody td:last-child").all_inner_texts()) == {"–"}
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    saved.value.save_as(tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        _, *lines = csv.reader(file)
    expected = warehouse.connect().sql(sql).fetchall()
    assert [line[0] for line in lines] == [row[0] for row in expected]
    assert [float(line[2]) if line[2] else None for line in lines] == [row[2] for row in expected]
    keep(page, "sql", tmp_path)


def test_writing_wrong_and_networked_statements_fail_in_one_message_and_the_next_one_works(visit):
    page = visit("sql")
    for sql, told in {
        "drop table operators": "only read-only statements",
        "select no_such from operators": "no_such",
        "select to_json([1])": "json",
        "from 'https://example.org/a.parquet'": "",
        "select count(*) as n from operators": None,
    }.items():
        page.get_by_label("Statement").fill(sql)
        page.get_by_role("button", name="Run").click()
        if told is None:
            page.locator("#result tbody td").first.wait_for()
        else:
            assert told in page.locator("#result .wrong", has_text=told).inner_text()


@planted
def test_each_page_shows_what_was_planted(visit, tmp_path):
    shown = {
        f"fate?sae={SAES[4]}&feature_id={DIED}": ("Life of a feature", "died"),
        "labels": ("Labelled features", DESCRIPTIONS[0]),
        "labels?judge=tiny-model": ("Cost of the judge", "tiny-model"),
        "entities?entity=city-01": ("Its answers", "country 1"),
        "sae_study": ("Comparison", f"{FVU['topk']:.2f}"),
        "graphs?prompt=river": ("Strongest edges", f"{100 / FACTORS['river']:g} %"),
    }
    for at, (title, value) in shown.items():
        page = visit(at)
        panel = page.locator(".panel", has=page.get_by_role("heading", name=title, exact=True))
        assert value in panel.inner_text(), (at, panel.inner_text())


def test_an_unknown_page_leaves_the_navigation_and_odd_choices_are_ignored(visit, address):
    page = visit("saes")
    page.goto(f"{address}/#/nowhere?x=%E0%A4%A")
    page.get_by_text("There is no page nowhere: choose one above.").wait_for()
    assert page.locator("nav a").count() >= 2
    page.goto(f"{address}/#/operators?source_layer={'9' * 500}&method=%00&features=';drop table x")
    drawn(page, "operators")
    assert page.locator(".wrong").count() == 0


def test_the_page_that_was_asked_for_last_is_shown_however_fast_one_goes_back_and_forth(visit, address):
    page = visit("")
    for name in ("features", "labels", "graphs", "causal", "transport"):
        page.evaluate("name => { location.hash = `/${name}` }", name)
    for step in (-1, -1, 1, 1, -2):
        page.evaluate("step => history.go(step)", step)
    page.evaluate("location.hash = '/saes'")
    drawn(page, "saes")
    page.wait_for_timeout(1500)
    assert page.locator("h1").inner_text() == "SAEs"
    assert "#/saes" in page.url


def test_text_of_a_site_cannot_reverse_what_stands_beside_it_nor_be_markup(visit):
    page = visit("sql?" + urlencode({"sql": "select '\u202eabc<b>x</b>\x1b' as t"}))
    assert page.locator("#result td").inner_text() == "\ufffdabc<b>x</b>\u241b"


@planted
def test_axes_and_legends_are_titled_by_what_was_chosen_in_the_words_of_its_field(visit):
    page = visit("transport?measure=mean skill against the identity")
    shown = set(page.locator(TITLES).all_text_contents())
    assert "mean skill against the identity" in shown
    page = visit("sae_study")
    chosen = page.locator("select[name=metric] option:checked").inner_text()
    panel = page.locator(".panel", has=page.get_by_role("heading", name="Is one better?", exact=True))
    assert panel.locator(".role-axis-title text").all_text_contents() == [chosen]


@planted
def test_no_row_of_a_legend_is_cut_off_on_a_phone(visit):
    page = visit("labels", width=400)
    chart = page.locator(".panel", has_text="Scores by layer").locator("svg").first
    names = chart.locator(".role-legend-label text").all()
    assert len(names) == 4
    assert min(name.bounding_box()["y"] for name in names) >= chart.bounding_box()["y"]


@planted
def test_a_labelled_neuron_has_a_page_with_its_trials_and_a_feature_leads_on_to_its_own(visit, tmp_path):
    page = visit("labels")
    rows = page.locator(".panel", has=page.get_by_role("heading", name="Labelled features", exact=True)).locator(
        "tbody"
    )
    rows.locator("tr", has_text=NEURONS).first.click()
    drawn(page, "labelled")
    assert DESCRIPTIONS[0] in page.locator(".panel", has_text="Label").all_inner_texts()[1]
    trials = page.locator(".panel", has=page.get_by_role("heading", name="Trials", exact=True))
    outcomes = set(trials.locator("tbody tr td:first-child").all_inner_texts())
    assert outcomes
    assert outcomes <= {"wrong", "right"}
    assert page.get_by_text("Its page").count() == 0, "of a neuron no more is known"
    keep(page, "labelled", tmp_path)
    of_feature = visit(f"labelled?sae={SAES[LAYER]}&feature_id=0")
    of_feature.get_by_text("Its page").click()
    drawn(of_feature, "feature")


@planted
def test_a_node_of_a_graph_is_pinned_by_the_keyboard_stands_in_the_address_and_leads_to_its_feature(visit, tmp_path):
    page = visit("graphs")
    assert page.locator(".graph .node").count() > 10
    node = page.locator(".graph .node.feature").last
    node.focus()
    node.press("Enter")
    clicked = page.locator(".panel", has_text="Feature of the clicked node")
    clicked.get_by_text("Its page").wait_for()
    (chosen,) = re.findall(r"clicked=([^&]+)", page.url)
    copied = visit(page.url.split("#/")[1])
    copied.locator(".graph .node.clicked").wait_for()
    assert copied.locator(".graph .node.clicked").get_attribute("data-id") == unquote(chosen)
    keep(copied, "graph-clicked", tmp_path)
    clicked.get_by_text("Its page").click()
    drawn(page, "feature")


@planted
def test_an_example_leads_to_its_text_and_the_features_with_examples_in_it(visit, site, tmp_path):
    page = visit(f"feature?sae={SAES[4]}&feature_id=0")
    page.locator(".from a").first.click()
    drawn(page, "text")
    rows = site.folder / "data" / "example_texts.parquet"
    texts = [text for (text,) in duckdb.sql(f"select text from read_parquet('{rows}')").fetchall()]
    assert any(" ".join(text.split()) in " ".join(page.locator(".card").inner_text().split()) for text in texts)
    keep(page, "text", tmp_path)
    page.locator("tbody tr a").first.click()
    drawn(page, "feature")


@planted
def test_a_word_is_found_in_texts_and_leads_to_one_with_the_features_that_have_examples_in_it(visit, site, tmp_path):
    rows = site.folder / "data" / "example_texts.parquet"
    sequence, text = duckdb.sql(f"select sequence_id, text from read_parquet('{rows}') order by all").fetchall()[0]
    page = visit(f"features?{urlencode({'search': max(text.split(), key=len).upper()})}")
    found = panel_of(page, "Texts found")
    assert found.locator("tbody tr").count() >= 1
    keep(page, "texts-found", tmp_path)
    found.get_by_role("link", name=str(sequence), exact=True).first.click()
    drawn(page, "text")
    assert f"sequence_id={sequence}" in page.url
    assert panel_of(page, "Features with examples in it").locator("tbody tr").count() >= 1


@pytest.mark.parametrize("name", [*LISTED, "feature", "labelled"])
def test_a_page_fits_a_phone_and_follows_a_dark_system(visit, site, tmp_path, name):
    if name not in titles_of(site) and name != "sql":
        pytest.skip("this warehouse has no results for it")
    page = visit(name, width=400, height=860, color_scheme="dark", has_touch=True)
    keep(page, f"phone-{name}", tmp_path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400, "nothing hangs out"
    assert page.evaluate(CUT) == [], "a legend or an axis is cut"
    assert [title for title in page.locator(TITLES).all_text_contents() if "_" in title or "$" in title] == []
    shades = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", shades)[:3])) < 64


def test_opened_as_a_file_it_says_how_to_serve_it(chromium, site):
    page = chromium.new_page()
    page.goto((site.folder / "index.html").as_uri())
    assert "python -m http.server" in page.locator("main").inner_text()
    page.close()


def test_the_site_is_small(site):
    assert sum(site.bytes.values()) < 30e6
