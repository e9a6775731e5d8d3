"""Attribution graphs: sums that are exact in every family, planted truths, and the same result however it is computed."""

import re
from functools import partial

import numpy as np
import pytest
import torch

from ato.errors import InputError, LayerError, QualityError, SAEError, SettingsError
from ato.graphs.attribution import attribute, check_memory
from ato.graphs.checks import TOLERANCE, check_conservation, conservation_residual, repeat_difference
from ato.graphs.targets import given_tokens, likely_tokens, token_difference
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.transcoder import Transcoder
from tests.ato.graphs.planted import random_model, random_sae, random_transcoder

FAMILIES = ("gpt2", "llama", "qwen2", "gemma2", "gpt_neox")
IDS = [1, 40, 41, 90, 41, 17, 200, 33, 90, 41]
"""More tokens than one recorded pass has, see ``LocalModel.pull_back``."""
ALL = 10_000


@pytest.fixture(scope="module", params=FAMILIES)
def family_model(request, tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model"), request.param, dtype=torch.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model"), "llama")


@pytest.fixture(scope="module")
def saes():
    return {layer: random_sae(layer) for layer in (0, 2)}


def dictionaries(kind, n_layers):
    if kind == "sae":
        return {layer: random_sae(layer) for layer in (0, n_layers - 1)}
    layers = range(n_layers) if kind == "transcoder" else [1]  # the MLPs of other layers are linear then
    return {layer: random_transcoder(layer, skip=bool(layer % 2)) for layer in layers}


def dense(graph):
    matrix = np.zeros((len(graph.kind), len(graph.kind)))
    matrix[graph.target, graph.source] = graph.weight
    return matrix


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["sae", "transcoder", "one transcoder"])
def test_edges_into_every_node_sum_to_its_value(family_model, kind, precision):
    family_model.module.to(getattr(torch, precision))
    for budget in (ALL, 12):
        graph = attribute(family_model, IDS, dictionaries(kind, family_model.n_layers), max_features=budget).graph
        assert check_conservation(graph, precision) <= TOLERANCE[precision]
        # Relative to the largest value of a node, too: nothing hides behind large terms that cancel.
        inner = ~np.isnan(graph.total)
        gap = np.abs(dense(graph).sum(1) - graph.total)[inner].max() / np.abs(graph.total[inner]).max()
        assert gap <= TOLERANCE[precision]
        assert np.array_equal(inner, np.isin(graph.kind, ["feature", "logit"]))


def test_values_of_nodes_are_those_of_the_model(model, saes):
    made = attribute(model, IDS, saes, max_features=ALL)
    graph = made.graph
    found = model.run_padded(torch.tensor([IDS]), torch.tensor([len(IDS)]), read=[0, 2])
    logits = model.logits(found.hidden[0, -1]).numpy()
    at_logits = graph.kind == "logit"
    expected = logits[graph.feature[at_logits]] - logits.mean()
    np.testing.assert_allclose(graph.total[at_logits], expected, rtol=1e-4, atol=1e-5)
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(graph.activation[at_logits], probabilities[graph.feature[at_logits]], rtol=1e-4)
    for layer, sae in saes.items():
        pre = sae.pre_activations(found.residuals[layer][0].float()).numpy()
        own = (graph.kind == "feature") & (graph.layer == layer)
        assert own.sum() == (sae.encode(found.residuals[layer][0].float()) > 0).sum()
        np.testing.assert_allclose(graph.total[own], pre[graph.position[own], graph.feature[own]], rtol=1e-3, atol=1e-4)


def test_batched_rows_are_those_of_one_backward_pass_each(model, saes):
    made = attribute(model, IDS, saes, max_features=ALL)
    graph, local = made.graph, made.sources.local
    matrix = dense(graph)
    leaf = local.values.leaves[0].clone().requires_grad_()
    reading = local.run(local.values.stream, [leaf, *local.values.leaves[1:]], gradients=True)[1]
    sae = local.dictionaries[1]
    sources = np.flatnonzero((graph.kind == "feature") & (graph.layer == 0))
    decoded = local.dictionaries[0].W_dec[torch.from_numpy(graph.feature[sources])]
    for target in np.flatnonzero((graph.kind == "feature") & (graph.layer == 2))[::5]:
        value = reading[0, graph.position[target]] @ sae.W_enc[:, graph.feature[target]]
        (gradient,) = torch.autograd.grad(value, leaf, retain_graph=True)
        own = (gradient[0, torch.from_numpy(graph.position[sources])] * decoded).sum(1).numpy()
        np.testing.assert_allclose(matrix[target, sources], graph.activation[sources] * own, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("budget", [20, ALL])
def test_batches_of_1_and_16_give_one_graph(model, saes, budget):
    model.module.to(torch.float32)
    try:
        one, many, again = (
            attribute(model, IDS, saes, max_features=budget, batch_size=size).graph for size in (1, 16, 16)
        )
    finally:
        model.module.to(torch.float64)
    assert repeat_difference(one, many) <= 1e-4
    assert repeat_difference(many, again) == 0
    assert np.array_equal(one.feature, many.feature)


def test_a_budget_keeps_edges_among_the_selected_and_counts_the_others_as_errors(model, saes):
    whole, part = (attribute(model, IDS, saes, max_features=budget) for budget in (ALL, 15))
    assert len(part.selected) == (part.graph.kind == "feature").sum() == 15
    rows = np.flatnonzero(np.isin(np.flatnonzero(whole.graph.kind == "feature"), part.selected))
    np.testing.assert_allclose(
        dense(part.graph)[:15, :15], dense(whole.graph)[np.ix_(rows, rows)], rtol=1e-9, atol=1e-12
    )
    # The logits' edges into a position are the same in sum.
    logit = part.graph.kind == "logit"
    for position in range(len(IDS)):
        sums = [
            dense(graph)[graph.kind == "logit"][:, (graph.position == position) & (graph.layer == 2)].sum(1)
            for graph in (whole.graph, part.graph)
        ]
        np.testing.assert_allclose(*sums, rtol=1e-9, atol=1e-12)
    assert logit.sum() == len(part.targets.token_ids)


def test_the_budget_goes_to_the_features_of_most_influence_on_the_logits(model):
    only = {1: random_sae(1)}
    whole, part = (attribute(model, IDS, only, max_features=budget) for budget in (ALL, 6))
    matrix = np.abs(dense(whole.graph))
    logits = whole.graph.kind == "logit"
    shares = matrix[logits] / matrix[logits].sum(1, keepdims=True)
    influence = (whole.graph.activation[logits] @ shares)[: len(whole.selected)]
    assert set(part.selected) == set(np.argsort(-influence)[:6])


def test_the_edges_of_two_linear_layers_are_the_product_of_their_weights(tmp_path):
    import ato
    from tests.tiny_models import save_identity_model

    model = ato.load_model(str(save_identity_model(tmp_path, "llama", n_layers=3, d_model=16)))
    model.module.to(torch.float64)
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(16, 16, generator=generator, dtype=torch.float64) * 0.3 for _ in model.blocks]
    for block, weight in zip(model.blocks, weights):  # which adds nothing of its own
        block.register_forward_hook(lambda module, args, output, weight=weight: output + output @ weight.T)
    saes = {0: random_sae(0), 2: random_sae(2)}
    made = attribute(model, IDS, saes, max_features=ALL)
    graph, matrix = made.graph, dense(made.graph)
    eye = torch.eye(16, dtype=torch.float64)
    between = (eye + weights[2]) @ (eye + weights[1])
    source, target = (np.flatnonzero((graph.kind == "feature") & (graph.layer == layer)) for layer in (0, 2))
    written = saes[0].W_dec.double()[graph.feature[source]] * torch.from_numpy(graph.activation[source])[:, None]
    expected = (saes[2].W_enc.double().T[graph.feature[target]] @ between @ written.T).numpy()
    same = graph.position[target][:, None] == graph.position[source]
    np.testing.assert_allclose(matrix[np.ix_(target, source)], np.where(same, expected, 0), rtol=1e-6, atol=1e-8)


def test_likely_tokens_are_the_fewest_that_have_the_probability(model):
    hidden = model.run_padded(torch.tensor([IDS]), torch.tensor([len(IDS)])).hidden[0, -1]
    probabilities = torch.softmax(model.logits(hidden), 0).sort(descending=True)
    for most, share in ((10, 0.3), (3, 0.95), (10, 1e-9)):
        found = likely_tokens(model, hidden, most, share)
        enough = next(n for n in range(1, 300) if n == most or probabilities.values[:n].sum() >= share)
        assert found.token_ids == tuple(probabilities.indices[:enough].tolist())


def test_the_difference_of_two_logits_has_the_difference_of_their_edges(model, saes):
    both = attribute(model, IDS, saes, partial(given_tokens, token_ids=[40, 90]), max_features=ALL).graph
    less = attribute(model, IDS, saes, lambda model, hidden: token_difference(model, 40, 90), max_features=ALL).graph
    rows = dense(both)[-2:, :-2]
    np.testing.assert_allclose(dense(less)[-1, :-1], rows[0] - rows[1], rtol=1e-9, atol=1e-10)
    assert less.feature[-1] == model.vocabulary_size
    assert less.total[-1] == pytest.approx(both.total[-2] - both.total[-1], rel=1e-9)


def test_a_graph_whose_edges_do_not_sum_is_refused(model, saes):
    graph = attribute(model, IDS, saes, max_features=ALL).graph
    inner = ~np.isnan(graph.total)
    assert np.isnan(conservation_residual(graph)[~inner]).all()
    graph.weight[0] *= 1.001
    with pytest.raises(QualityError, match="do not sum"):
        check_conservation(graph, "float64")


def test_features_without_a_value_make_an_empty_layer(model):
    sae = random_sae(2)
    silent = type(sae)("standard", sae.W_enc, sae.b_enc - 1e9, sae.W_dec, sae.b_dec)
    graph = attribute(model, IDS, {2: silent}).graph
    assert not (graph.kind == "feature").any()
    assert check_conservation(graph, "float64") <= 1e-9


def test_what_cannot_be_a_graph_is_refused_with_a_cure(model, saes):
    for ids in ([], [1]):
        with pytest.raises(InputError, match="two tokens"):
            attribute(model, ids, saes)
    with pytest.raises(InputError, match="context"):
        attribute(model, [1] * 600, saes)
    with pytest.raises(InputError, match="no tokens"):
        attribute(model, [1, 264], saes)
    with pytest.raises(SAEError, match="one kind"):
        attribute(model, IDS, {0: random_sae(0), 1: random_transcoder(1)})
    with pytest.raises(SAEError, match="needs an SAE"):
        attribute(model, IDS, {})
    with pytest.raises(LayerError, match="no layers"):
        attribute(model, IDS, {7: random_sae(7)})
    with pytest.raises(SAEError):
        attribute(model, IDS, {1: random_sae(0)})
    with pytest.raises(InputError, match="use 1 or more"):
        attribute(model, IDS, saes, max_features=0)
    with pytest.raises(InputError, match="max_features to"):
        check_memory(10**6, 10**5, 10, torch.float32)
    with pytest.raises(InputError, match="GiB: shorten the prompt"):
        check_memory(10**10, 1, 1, torch.float32)
    with pytest.raises(InputError, match="each token once"):
        attribute(model, IDS, saes, partial(given_tokens, token_ids=[5, 5]))
    with pytest.raises(InputError, match="no tokens"):
        attribute(model, IDS, saes, partial(given_tokens, token_ids=[264]))
    model.module.to(torch.bfloat16)
    try:
        with pytest.raises(SettingsError, match="float32"):
            attribute(model, IDS, saes)
    finally:
        model.module.to(torch.float64)


def test_a_dictionary_of_another_width_is_refused(model):
    draw = torch.Generator().manual_seed(0)
    shapes = ((8, 24), (24,), (24, 8), (8,))
    narrow = [torch.randn(*shape, generator=draw) for shape in shapes]
    for one in (SparseAutoencoder("topk", *narrow, k=5), Transcoder("topk", *narrow, k=5)):
        with pytest.raises(SAEError, match="the dictionary of layer 1 is 8 wide, the model 16"):
            attribute(model, IDS, {1: one})


@pytest.mark.parametrize("kind", ["sae", "transcoder"])
def test_a_graph_beyond_the_memory_is_refused_before_it_is_made_with_a_budget_that_fits(model, monkeypatch, kind):
    made = dictionaries(kind, model.n_layers)
    n_active = len(attribute(model, IDS, made, max_features=1).sources)
    monkeypatch.setattr("ato.graphs.attribution._MEMORY", 40 * n_active * 8)
    with monkeypatch.context() as patch:
        patch.setattr("ato.graphs.sources.Sources.into", lambda *_: pytest.fail("edges were computed"))
        with pytest.raises(InputError, match=r"active features need .* set max_features to") as refused:
            attribute(model, IDS, made, max_features=ALL)
    budget = int(re.search(r"max_features to ([\d,]+)", str(refused.value))[1].replace(",", ""))
    graph = attribute(model, IDS, made, max_features=budget).graph
    assert (graph.kind == "feature").sum() == budget


def test_bfloat16_makes_a_graph_where_it_is_asked_for(model, saes):
    whole = attribute(model, IDS, saes, max_features=ALL).graph
    model.module.to(torch.bfloat16)
    try:
        half = attribute(model, IDS, saes, max_features=ALL, half_precision=True).graph
    finally:
        model.module.to(torch.float64)
    assert half.weight.dtype == np.float64
    assert np.isfinite(half.weight).all()
    assert check_conservation(half, "bfloat16") > TOLERANCE["float32"], "rounding alone decides its books"
    logits = [one.total[one.kind == "logit"][0] for one in (half, whole)]
    assert logits[0] == pytest.approx(logits[1], rel=0.1)


def test_positions_that_are_left_out_have_no_features_and_all_of_them_is_error(model, saes):
    made, whole = (attribute(model, IDS, saes, max_features=ALL, without=without) for without in ((0, 3), ()))
    features = made.graph.kind == "feature"
    assert {0, 3}.isdisjoint(made.graph.position[features].tolist())
    kept = ~np.isin(whole.graph.position, (0, 3)) & (whole.graph.kind == "feature")
    np.testing.assert_array_equal(made.graph.feature[features], whole.graph.feature[kept])
    assert check_conservation(made.graph, "float32") <= TOLERANCE["float32"]
    local = made.sources.local
    for cut, leaf in enumerate(local.values.leaves):
        error = made.sources._errors[cut][3]
        np.testing.assert_allclose(error.numpy(), (leaf[0, 3] - local.bias(cut)).numpy(), rtol=1e-4, atol=1e-5)
