"""Any two things side by side: every number is what the SQL gives, links reproduce the page, mistakes are one line."""

import pytest

from dashboards.ui.navigation import PAGES
from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels, read_page
from tests.tasks.reported_study import COLLECTION, SAES, mean_r2
from warehouse.catalog.compared.comparisons import PARTS

PAIRS = {
    "feature": (f"{SAES[4]}/1", f"{SAES[6]}/2"),
    "operator": ("identity-3-6", "ridge-3-6"),
    "sae": (SAES[4], SAES[6]),
    "collection": (COLLECTION, COLLECTION),
    "entity": ("City <0> (city)", "City <1> (city)"),
    "graph": ("capital/attribution", "river/attribution"),
}


def address(kind):
    left, right = PAIRS[kind]
    return {"left": f"{kind}:{left}", "right": f"{kind}:{right}"}


def sides(app):
    """What the address says of both sides: as it was given, or as the page has written it."""
    found = {name: app.query_params[name] for name in ("left", "right")}
    return {name: value if isinstance(value, str) else value[0] for name, value in found.items()}


def test_every_kind_of_thing_is_tried_here():
    assert set(PAIRS) == set(PARTS)


@pytest.mark.parametrize("kind", PAIRS)
def test_every_number_is_what_the_sql_gives(study, kind):
    app = read_page("compare", **address(kind))
    shown = check_numbers(app)
    assert next(iter(shown)) == "Differences"
    assert not shown["Differences"].rows.is_empty()
    assert sides(app) == address(kind)


def test_operators_that_were_evaluated_together_differ_by_what_was_planted(study):
    shown = panels(read_page("compare", **address("operator")))
    rows = {row["quantity"]: row for row in shown["Differences"].rows.to_dicts()}
    assert rows["mean r2 of shared features"]["difference"] == pytest.approx(0.2)
    assert rows["mean r2 of shared features"]["left_value"] == pytest.approx(mean_r2(3, 6) - 0.2)
    assert len(shown["r2 of shared features"].rows) == 20


def test_a_short_address_becomes_the_whole_one(study):
    app = open_page("compare", left="feature:L4/1", right="feature:L6/2")
    assert sides(app) == address("feature")


def test_without_an_address_the_first_two_things_stand_side_by_side(study):
    app = open_page("compare", show="Any two")
    assert sides(app)["left"] != sides(app)["right"]
    assert "Differences" in panels(app)


def test_a_link_to_two_things_shows_them_after_the_models_were_looked_at(study):
    app = open_page("compare")
    assert "Transport in other models" in panels(app)
    for name, text in address("operator").items():
        app.query_params[name] = text
    app.run()
    assert "Spectra" in panels(app)


def test_sides_swap_and_the_difference_turns_its_sign(study):
    app = open_page("compare", **address("operator"))
    before = dict(panels(app)["Differences"].rows.select("quantity", "difference").iter_rows())
    (swap,) = (button for button in app.button if button.label == "Swap")
    swap.click().run()
    assert sides(app) == {"left": "operator:ridge-3-6", "right": "operator:identity-3-6"}
    after = dict(panels(app)["Differences"].rows.select("quantity", "difference").iter_rows())
    assert after["r2 of the residual"] == pytest.approx(-before["r2 of the residual"])


def test_another_kind_and_another_side_are_chosen_by_fields(study):
    app = open_page("compare", **address("feature"))
    app.selectbox(key="compared kind").set_value("operator").run()
    assert sides(app)["left"].startswith("operator:")
    assert "Spectra" in panels(app)
    app.selectbox(key="compared right").set_value("identity-3-6").run()
    assert sides(app)["right"] == "operator:identity-3-6"


def test_both_sides_may_be_the_same(study):
    app = read_page("compare", left="operator:ridge-3-6", right="operator:ridge-3-6")
    assert any("Both sides are the same" in text for text in messages(app))
    assert set(panels(app)["Differences"].rows["difference"].drop_nulls()) == {0.0}


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("feature:L4/1", "operator:ridge-3-6", "choose two of one kind"),
        ("feature:nothing/1", f"feature:{SAES[4]}/2", "no SAE 'nothing'"),
        (f"feature:{SAES[4]}/999", f"feature:{SAES[4]}/2", "has no feature 999"),
        ("operator:![x](http://x)", "operator:ridge-3-6", "no operator"),
    ],
)
def test_mistakes_are_one_line_and_show_no_panel(study, left, right, message):
    app = read_page("compare", left=left, right=right)
    (said,) = [box.value for box in app.warning]
    assert message in said
    assert "\n" not in said
    assert "![x](" not in said
    assert not panels(app)


@pytest.mark.parametrize(
    ("name", "opened", "left"),
    [
        ("features", {"sae": SAES[4], "feature_id": 1}, f"feature%3A{SAES[4]}%2F1"),
        ("operators", {"operator": "ridge-3-6"}, "operator%3Aridge-3-6"),
        ("saes", {"sae": SAES[6]}, f"sae%3A{SAES[6]}"),
        ("graphs", {"prompt": "river", "graph_kind": "transport"}, "graph%3Ariver%2Ftransport"),
        ("entities", {}, "entity%3A"),
    ],
)
def test_the_page_of_a_thing_leads_to_its_comparison(study, name, opened, left):
    (link,) = (
        leaf.proto for leaf in read_page(name, **opened).get("page_link") if leaf.proto.label.startswith("Compare")
    )
    assert link.page == "compare"
    assert f"left={left}" in link.query_string
    assert f"collection={COLLECTION}" in link.query_string
    assert PAGES["compare"].title == "Compare"
