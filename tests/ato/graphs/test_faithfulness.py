"""Ablation: exact in the frozen model, correlated with it in the model itself, with intervals and a control."""

import numpy as np
import pytest
import scipy.stats

from ato.errors import InputError
from ato.graphs.attribution import attribute
from ato.graphs.faithfulness import ablation_effects, faithfulness, pearson, spearman
from ato.graphs.heads import head_contributions
from tests.ato.graphs.planted import random_model, random_sae, random_transcoder

IDS = [1, 40, 41, 90, 41, 17, 200, 33]


@pytest.fixture(scope="module", params=["sae", "transcoder"])
def made(request, tmp_path_factory):
    model = random_model(tmp_path_factory.mktemp("model"), "llama")
    kinds = {"sae": {0: random_sae(0), 2: random_sae(2)}, "transcoder": {i: random_transcoder(i) for i in range(3)}}
    return attribute(model, IDS, kinds[request.param], max_features=60)


def test_ablation_in_the_frozen_model_changes_targets_by_the_edges(made):
    found = faithfulness(made, 80)
    np.testing.assert_allclose(found.frozen, found.weight, rtol=1e-8, atol=1e-10)
    assert len(found.edge) == 80
    assert not np.allclose(found.effect, found.weight, rtol=1e-3)


def test_effects_in_the_model_follow_the_edges_and_not_the_control(made):
    found = faithfulness(made, 300)
    assert found.pearson.low > 0.3
    assert found.spearman.low > 0.3
    assert found.control_pearson.high < found.pearson.low


def test_the_sample_depends_on_the_seed_alone(made):
    one, again, other = (faithfulness(made, 20, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.edge, again.edge)
    assert not np.array_equal(one.edge, other.edge)
    np.testing.assert_array_equal(one.control, again.control)


def test_correlations_and_their_limits_are_scipys():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(50)
    y = x + rng.standard_normal(50)
    found, expected = pearson(x, y), scipy.stats.pearsonr(x, y)
    limits = expected.confidence_interval()
    np.testing.assert_allclose(
        [found.value, found.low, found.high], [expected.statistic, limits.low, limits.high], rtol=1e-12
    )
    np.testing.assert_allclose(spearman(x, y).value, scipy.stats.spearmanr(x, y).statistic, rtol=1e-12)
    assert pearson(x, np.ones(50)).value is None
    assert spearman(np.empty(0), np.empty(0)).value is None
    assert pearson(x[:3], y[:3]).low is None
    assert pearson(x, x).value == pytest.approx(1)


def test_a_graph_without_edges_between_features_is_refused(made):
    silent = random_sae(2)
    silent = type(silent)("standard", silent.W_enc, silent.b_enc - 1e9, silent.W_dec, silent.b_dec)
    empty = attribute(made.sources.local.model, IDS, {2: silent})
    with pytest.raises(InputError, match="can be ablated"):
        faithfulness(empty)


def test_parts_of_heads_and_what_goes_around_attention_make_the_edge(made):
    graph, local = made.graph, made.sources.local
    between = (graph.kind[graph.source] == "feature") & (graph.target < len(made.selected))
    apart = between & (graph.position[graph.source] < graph.position[graph.target])
    edge = np.flatnonzero(apart & (graph.layer[graph.source] == 0))[3]
    found = head_contributions(made, edge)
    assert list(found.layers) == list(range(1, graph.layer[graph.target[edge]] + 1))
    np.testing.assert_allclose(found.by_position.sum(2), found.contribution)
    if local.transcoded and len(found.layers) > 1:
        return
    # From one position to another everything goes through attention: of a single layer, all of it; of two, each path
    # counts in every layer whose heads it passes, so that the layers' sums cover the edge.
    if len(found.layers) == 1:
        np.testing.assert_allclose(found.contribution.sum(), graph.weight[edge], rtol=1e-8)


def test_a_heads_part_is_what_is_lost_when_its_answer_to_the_source_is_taken_away(made):
    graph, local = made.graph, made.sources.local
    edge = int(np.argmax(np.where(graph.source < len(made.selected), np.abs(graph.weight), 0)))
    assert local.frozen.pattern(1).shape[1] == head_contributions(made, edge).contribution.shape[-1]
    assert ablation_effects(made, np.array([edge]), frozen=True)[0] == pytest.approx(graph.weight[edge], rel=1e-8)
    tokens = int(np.flatnonzero(graph.kind[graph.source] == "token")[0])
    with pytest.raises(InputError, match="from a feature"):
        head_contributions(made, tokens)
