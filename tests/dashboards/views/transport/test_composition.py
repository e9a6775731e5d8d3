"""Direct versus composed operators."""

import warehouse
from tests.dashboards.opened_pages import panels, read_page


def test_each_composed_operator_stands_beside_the_direct_one_with_the_largest_loss_first(study):
    rows = panels(read_page("transport"))["Direct versus composed operators"].rows
    sql = "select count(*) from composition_overview where method = 'ridge' and position_policy = 'same'"
    assert rows.height == min(40, warehouse.connect().sql(sql).fetchall()[0][0]) > 0
    assert rows["r2_lost"].is_sorted(descending=True)
