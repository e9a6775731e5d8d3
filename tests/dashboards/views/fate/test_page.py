"""The page of fates shows what its statements give, and the life of the feature that its address names."""

from tests.dashboards.opened_pages import check_numbers, open_page, panels, read_page
from tests.tasks.reported_study import N_FEATURES, PAIRS, SAES
from tests.warehouse.fate_rows import ABLATED, DIED


def test_every_number_of_the_page_is_one_of_its_statements(study):
    shown = check_numbers(read_page("fate"))
    counts = shown["Fates by pair of layers"].rows
    assert counts["n_features"].sum() >= N_FEATURES * len(PAIRS)
    assert len(shown["Predicted, and caused?"].rows) == len(ABLATED)
    agreement = shown["Do the views agree?"].rows
    assert ("ridge", "causal") in set(zip(agreement["view"], agreement["against"]))


def test_the_life_of_the_feature_in_the_address_is_shown_with_its_own_layer_and_the_later_one(study):
    app = open_page("fate", sae=SAES[4], feature_id=DIED)
    life = check_numbers(app)["Life of a feature"].rows
    assert dict(zip(life["layer"], life["fate"])) == {4: "home", 6: "died"}
    app.text_input(key="feature_id").set_value("1").run()
    life = panels(app)["Life of a feature"].rows
    assert dict(zip(life["layer"], life["fate"])) == {4: "home", 6: "carried"}


def test_what_is_no_number_is_said_and_nothing_is_drawn(study):
    app = open_page("fate", feature_id="first")
    assert [box.value for box in app.warning] == ["Enter a feature id, counted from 0."]
    assert "Life of a feature" not in panels(app)


def test_the_ends_of_a_life_stand_above_its_table_and_not_in_every_row(study):
    life = panels(read_page("fate", sae=SAES[4], feature_id="1"))["Life of a feature"]
    first = life.rows.row(0, named=True)
    assert life.metrics == (str(first["born_at"]), str(first["lives_until"]))
    (table,) = [drawn for drawn in life.drawn if "home_layer" not in drawn.columns]
    assert "r2" in table.columns
    assert not {"born_at", "lives_until"} & set(table.columns)
