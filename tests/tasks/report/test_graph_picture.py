"""The picture of a graph: each edge once in each half where it has a value, layers above each other, equal bytes again."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from ato.errors import InputError, UnavailableError
from tasks.report.drawing import COLOURS
from tasks.report.graph_picture import FAINTEST, draw, edges_sql, save_picture
from tests.warehouse.graph_rows import graph_rows
from tests.warehouse.small_warehouse import COLLECTION, STARTED, collect_rows, commit_stage, write
from warehouse.catalog.catalog import rows
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse


def end(kind, layer, feature, position, token, activation=1.0):
    return dict(
        zip(
            ("kind", "layer", "feature_id", "position", "token", "activation"),
            (kind, layer, feature, position, token, activation),
        )
    )


def edge(source, target, attribution, transport):
    sides = {"source": source, "target": target}
    named = {f"{side}_{name}": value for side, values in sides.items() for name, value in values.items()}
    return named | {"attribution": attribution, "transport": transport}


LOW, HIGH, OTHER = (
    end("feature", layer, 7, at, word) for layer, at, word in ((2, 0, " the"), (4, 1, " law"), (2, 1, " law"))
)
LOGIT = end("logit", 9, None, 1, " of", 0.5)
EDGES = [
    edge(LOW, HIGH, 0.4, 0.0),
    edge(OTHER, HIGH, -0.3, -0.2),
    edge(OTHER, HIGH | {"feature_id": 8}, FAINTEST / 2, 0.5),
    edge(HIGH, LOGIT, 0.2, None),
]


def drawn(edges):
    figure = Figure()
    draw(figure, edges)
    return [[line for line in axes.lines if line.get_solid_capstyle() == "round"] for axes in figure.axes], figure.axes


def test_each_half_has_a_line_for_each_edge_that_is_there_and_not_faint():
    (left, right), axes = drawn(EDGES)
    assert [line.get_color() for line in left] == [COLOURS[0], COLOURS[5], COLOURS[0]]
    assert [line.get_color() for line in right] == [COLOURS[5], COLOURS[0]]
    widths = [line.get_linewidth() for line in left]
    assert np.argsort(widths).tolist() == [2, 1, 0], "a larger share is a wider line"
    assert all({"7", "8", " of\n0.50"} == {text.get_text() for text in half.texts} for half in axes)


def test_lines_lead_upwards_from_layer_to_layer_and_tokens_stand_side_by_side():
    (left, _), axes = drawn(EDGES)
    for line in left:
        low, high = line.get_ydata()
        assert high == low + 1
    assert left[0].get_xdata()[0] < left[1].get_xdata()[0], "the earlier token to the left"
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["layer 2", "layer 4", "logit"]
    assert [label.get_text() for label in axes[0].get_xticklabels()] == [" the", " law"]


def test_names_in_a_crowd_do_not_stand_at_one_height():
    many = [edge(LOW | {"feature_id": i}, HIGH, 0.1, 0.1) for i in range(20)]
    heights = {text.get_position()[1] for text in drawn(many)[1][0].texts}
    assert len(heights) == 4


def test_a_graph_of_the_tables_is_drawn_and_again_in_equal_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    warehouse = Warehouse()
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    tables = graph_rows(key := "graph-river", ["river"])
    for node in tables["graph_nodes"]:
        node["absolute_weight"] = None if node["total"] is None else 100.0
        node["influence"] = node["position"] / 10  # the most influential are of one token, so that edges join them
    values = {"collection": COLLECTION, "settings": {}, "started_at": STARTED, "seconds": 1.0}
    commit(warehouse, "graphs", key, files=write(warehouse, tables, key), **values)
    found = rows(None, edges_sql(key))
    assert found
    assert max(abs(row["attribution"]) for row in found) <= 1
    for name in "ab":
        save_picture(tmp_path / f"{name}.png", key)
    content = (tmp_path / "a.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content == (tmp_path / "b.png").read_bytes()
    with pytest.raises(InputError, match="no edges"):
        save_picture(tmp_path / "c.png", "nothing")
    with pytest.raises(UnavailableError, match="cannot write"):
        save_picture(tmp_path / "nowhere" / "c.png", key)
