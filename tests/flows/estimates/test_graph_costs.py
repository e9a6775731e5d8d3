"""What graphs cost: counted by hand from each part of the formula, and never without a reason."""

import pytest

from ato.models.shapes import ModelShape
from flows.estimates.graph_costs import D_HEAD, HEADS, TOKENS, graphs_work, n_prompts
from flows.settings import load_settings

SHAPE = ModelShape(12, 768, 50_000, 124_000_000)
GRAPHS = (
    "saes.layers=[2,6,10]",
    "saes.d_sae=1000",
    "saes.k=8",
    "graphs.prompts=[{text: a b}, {text: c d}]",
    "graphs.max_features=100",
    "graphs.max_targets=5",
    "graphs.n_ablations=0",
    "graphs.n_traced_edges=0",
    "graphs.n_traced_scores=0",
    "graphs.repeat=false",
)


def work(*more):
    return graphs_work(load_settings("demo", [*GRAPHS, *more]), SHAPE)


def passes(*more):
    """Forward passes of a prompt through the blocks between two sites."""
    return work(*more).forward / (2 * TOKENS * SHAPE.forward_flops(SHAPE.n_layers // 3))


def test_passes_are_those_counted_by_hand():
    assert passes() == 2 * 105 + 3
    assert passes("graphs.repeat=true") == 2 * 2 * 105 + 3
    assert passes("graphs.n_ablations=40") - passes() == 40
    assert passes("graphs.n_traced_edges=10") - passes() == 10 * 6
    assert passes("graphs.n_traced_scores=3") - passes() == 3 * 2 * D_HEAD * 2
    assert passes("graphs.kinds=[transport]", "graphs.n_ablations=40", "graphs.n_traced_edges=10") == 3


def test_fewer_layers_lie_further_apart():
    assert work("graphs.layers=[6]").forward == pytest.approx(3 * work().forward)


def test_memory_grows_by_the_edges_of_each_further_target_and_each_dictionary():
    active = TOKENS * 8 * 3
    assert work("graphs.max_features=200").memory_bytes - work().memory_bytes == 100 * 8 * active
    assert work("graphs.batch_size=64").memory_bytes - work().memory_bytes == 4 * 32 * TOKENS * 768 * 12
    assert work("saes.d_sae=2000").memory_bytes - work().memory_bytes == 3 * 8 * 768 * 1000


def test_disk_is_of_kept_edges_active_nodes_and_traced_heads():
    assert work("graphs.n_traced_edges=10").disk_bytes - work().disk_bytes == 2 * 10 * 12 * HEADS * 60
    assert work("graphs.max_features=200").disk_bytes > work().disk_bytes
    assert work("graphs.kinds=[transport]").disk_bytes == 2 * TOKENS * 8 * 3 * 40


def test_prompts_are_those_of_the_settings_and_of_the_folder(tmp_path):
    for name in ("a.txt", "b.txt", "c.md"):
        (tmp_path / name).write_text("words")
    found = [load_settings("demo", [*GRAPHS, f"graphs.prompts_from={path}"]) for path in (tmp_path, tmp_path / "a.txt")]
    assert [n_prompts(one) for one in found] == [4, 3]
    assert graphs_work(found[0], SHAPE).forward == pytest.approx(2 * work().forward)
    assert graphs_work(found[0], SHAPE).seconds == 2 * work().seconds
