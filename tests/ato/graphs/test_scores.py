"""Attention scores by pairs: sums are exact, scores are the model's own, and a vector is what removing its node changes."""

import numpy as np
import pytest
import torch

from ato.errors import InputError, ModelError, QualityError
from ato.graphs.attribution import attribute
from ato.graphs.frozen import eager
from ato.graphs.scores import Look, TracedScore, Writers, trace_scores
from tests.ato.graphs.planted import random_model, random_sae, random_transcoder

IDS = [1, 40, 41, 90, 41, 17, 200, 33]
FAMILIES = ("gpt2", "llama", "qwen3", "gemma2", "gemma3", "gpt_neox", "opt", "phi")
"""Position embeddings, rotated positions, rotated parts, norms of queries and keys, fewer keys than queries, soft caps."""


@pytest.fixture(scope="module", params=[(family, kind) for family in FAMILIES for kind in ("sae", "transcoder")])
def made(request, tmp_path_factory):
    family, kind = request.param
    model = random_model(tmp_path_factory.mktemp("model"), family)
    saes = {0: random_sae(0)}
    transcoders = {layer: random_transcoder(layer) for layer in range(model.n_layers)}
    return attribute(model, IDS, saes if kind == "sae" else transcoders, max_features=100)


def looks(made):
    last = made.sources.local.model.n_layers - 1
    return [Look(last, 3, 6, 2), Look(last, 0, 7, 7), Look(0, 1, 5, 0), Look(last, 1, 0, 0)]


def test_the_parts_of_a_score_sum_to_it(made):
    for found in trace_scores(made, looks(made)):
        whole = found.query.vectors @ found.key.vectors.T
        size = max(np.abs(whole).sum(), abs(found.score))
        assert abs(whole.sum() - found.score) <= 1e-9 * size
        for n in (1, 5, whole.size + 3):
            query, key, weight, rest = found.largest(n)
            assert len(weight) == min(n, whole.size)
            assert abs(weight.sum() + rest - found.score) <= 1e-9 * size
            np.testing.assert_allclose(weight, whole[query, key])
            np.testing.assert_allclose(np.abs(weight), np.sort(np.abs(whole), axis=None)[::-1][:n])


def test_scores_are_those_of_the_models_own_attention(made):
    local = made.sources.local
    model, last, position = local.model, local.model.n_layers - 1, 6
    with eager(model, [model.parts.submodule(layer, "attention") for layer in range(model.n_layers)]):
        weights = model.module(input_ids=torch.tensor([IDS]), output_attentions=True, use_cache=False).attentions[last]
    found = list(trace_scores(made, [Look(last, 2, position, key) for key in range(position + 1)]))
    scores = np.array([one.score for one in found])
    assert [one.mean_score for one in found] == pytest.approx([scores.mean()] * len(found))
    cap = local.frozen.scaling(last)[1]
    capped = scores if cap is None else cap * np.tanh(scores / cap)
    own = weights[0, 2, position, : position + 1].double().numpy()
    expected = np.where(own > 0, np.exp(capped), 0)
    np.testing.assert_allclose(expected / expected.sum(), own, atol=1e-6)


def test_a_nodes_vector_is_what_the_query_and_the_key_lose_without_it(made):
    local, sources = made.sources.local, made.sources
    look = looks(made)[0]
    (found,) = trace_scores(made, [look])
    scale, _ = local.frozen.scaling(look.layer)
    heads = len(local.frozen.pattern(look.layer)[0])

    def query_and_key(leaves):
        seen = []
        with local.frozen.watched(lambda one: (seen.append(one), one.output)[1]), torch.no_grad():
            local.run(local.values.stream, leaves)
        one = next(one for one in seen if one.layer == look.layer)
        query = one.query[0, look.head, look.query_position] * scale
        return query, one.key[0, look.head * one.key.shape[1] // heads, look.key_position]

    whole = query_and_key(local.values.leaves)
    for side, before, at in zip((found.query, found.key), whole, look[2:]):
        features = np.flatnonzero(side.kind == "feature")
        assert features.size
        for node in features[:: max(len(features) // 4, 1)]:
            assert side.position[node] <= at
            own = (sources.position == side.position[node]) & (sources.feature == side.feature[node])
            (row,) = np.flatnonzero(own & (np.array(local.layers)[sources.cut] == side.layer[node]))
            leaves = [leaf.clone() for leaf in local.values.leaves]
            leaves[sources.cut[row]][0, sources.position[row]] -= sources.written(row)
            changed = query_and_key(leaves)[0 if side is found.query else 1]
            np.testing.assert_allclose(side.vectors[node], (before - changed).numpy(), rtol=1e-7, atol=1e-9)


def test_what_is_in_front_of_the_first_sae_is_made_of_tokens_and_a_constant(made):
    (found,) = trace_scores(made, [looks(made)[2]])
    assert set(found.query.kind) <= {"token", "constant"}
    assert set(found.query.position) <= set(range(6))


def test_the_largest_pairs_are_the_same_however_many_rows_are_multiplied_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    one = Writers(np.full(50, "feature"), *(np.arange(50),) * 3, rng.standard_normal((50, 4)))
    found = TracedScore(Look(0, 0, 1, 0), 0.0, 0.0, one, one)
    whole = found.largest(30)
    monkeypatch.setattr("ato.graphs.scores._BLOCK", 7)
    again = found.largest(30)
    np.testing.assert_allclose(np.abs(whole[2]), np.abs(again[2]))
    assert whole[3] == pytest.approx(again[3])


def test_a_look_at_nothing_and_attention_that_is_no_softmax_of_products_are_refused(made):
    for wrong in (Look(9, 0, 1, 0), Look(0, 4, 1, 0), Look(0, 0, 1, 2), Look(0, 0, 8, 0), Look(-1, 0, 1, 0)):
        with pytest.raises(InputError, match="no head looks"):
            list(trace_scores(made, [wrong]))
    assert list(trace_scores(made, [])) == []
    local = made.sources.local
    attention = local.model.parts.submodule(0, "attention")
    scale, cap = local.frozen._scores[attention]
    local.frozen._scores[attention] = (scale * 3 + 1, cap)
    try:
        with pytest.raises(ModelError, match="not the softmax"):
            list(trace_scores(made, [Look(0, 0, 6, 1)]))
    finally:
        local.frozen._scores[attention] = (scale, cap)


def test_a_family_that_rotates_in_float32_is_refused_in_float64_and_traced_in_float32(tmp_path):
    model = random_model(tmp_path, "cohere")
    saes = {0: random_sae(0)}
    with pytest.raises(QualityError, match="use float32"):
        list(trace_scores(attribute(model, IDS, saes), [Look(1, 0, 6, 2)]))
    model.module.to(torch.float32)
    (found,) = trace_scores(attribute(model, IDS, saes), [Look(1, 0, 6, 2)])
    assert found.residual <= 1e-4
