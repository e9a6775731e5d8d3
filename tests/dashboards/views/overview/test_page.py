"""The landing page: findings first, each with its sentence, picture, link and SQL; then what is new."""

import re

import pytest

import warehouse
from tests.dashboards.opened_pages import check_numbers, open_page, read_page
from tests.warehouse.small_warehouse import COLLECTION, collect_rows, commit_stage, write
from warehouse.catalog.catalog import rows
from warehouse.catalog.finding_texts import OF_COLLECTION, findings_of


@pytest.fixture
def found(study):
    return findings_of(rows(study, OF_COLLECTION, {"collection": COLLECTION}))


def test_each_finding_is_a_card_with_the_sentence_of_its_rows_and_its_sql(found):
    app = read_page("overview")
    cards = check_numbers(app)
    said = [block.value.replace("\\", "") for block in app.markdown]
    assert [*cards][: len(found)] == [finding.topic for finding in found]
    for finding in found:
        assert finding.text in said
        assert f"finding = '{finding.name}'" in cards[finding.topic].sql
        assert len(cards[finding.topic].rows) == len(finding.rows)


def test_each_card_links_to_the_page_that_shows_more(found):
    links = [link.proto.page for link in read_page("overview").get("page_link")]
    assert {finding.page for finding in found} <= set(links)
    assert "operations" in links


def test_what_is_searched_for_on_the_first_page_is_searched_on_that_of_features(study, monkeypatch):
    asked = []
    monkeypatch.setattr("dashboards.views.overview.page.go", lambda name, **address: asked.append((name, address)))
    app = open_page("overview")
    app.text_input[0].input(" war ")
    next(one for one in app.button if one.proto.is_form_submitter).click().run()
    assert asked == [("features", {"search": "war"})]


def test_a_study_that_has_found_nothing_says_what_to_run(tmp_path, monkeypatch):
    store = warehouse.Warehouse(tmp_path / "warehouse")
    commit_stage(store, "collect", write(store, collect_rows()), key=COLLECTION)
    monkeypatch.setenv("ATO_WAREHOUSE", store.root)
    app = open_page("overview")
    assert any("ato run pipeline" in box.value for box in app.info)


def test_an_empty_warehouse_says_how_to_fill_it(empty):
    assert "make run" in read_page("overview").info[0].value


def test_pictures_have_a_text_alternative_and_ask_nobody(study):
    images = [image for block in read_page("overview").get("image") for image in block.proto.imgs]
    assert len(images) > 8
    assert all(re.match(r"data:image/svg\+xml;base64,", image.url) for image in images)
