"""Transport of one feature by leap."""

from tests.dashboards.opened_pages import panels
from tests.dashboards.views.features.opened_feature import read_feature
from tests.dashboards.whole_study import STOPPING


def test_it_says_where_and_as_what_the_feature_stops_being_transported(study):
    panel = panels(read_feature(STOPPING))["Where does it stop being transported?"]
    assert set(zip(panel.rows["leap"], panel.rows["verdict"])) >= {(2, "transported"), (3, "computed")}
    assert panel.metrics[0] == "to leap 2"
    assert set(panel.rows["stops_at_leap"]) == {3}
    assert set(panel.rows["stops_as"]) == {"computed"}
