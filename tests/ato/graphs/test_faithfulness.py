"""Ablation: exact in the frozen model, correlated with it in the model itself, with intervals and a control."""

import numpy as np
import pytest
import scipy.stats
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from ato.errors import InputError
from ato.graphs.attribution import attribute
from ato.graphs.faithfulness import faithfulness, pearson, spearman
from ato.models import LanguageModel, ModelIdentity
from ato.saes.autoencoder import SparseAutoencoder
from tests.ato.graphs.planted import random_model, random_sae, random_transcoder
from tests.tiny_models import byte_tokenizer

D_TOY = 32
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


@pytest.mark.slow
def test_on_a_toy_task_ablation_does_what_the_edges_say():
    """A GPT-2 that has learnt to repeat what it read; features are random directions, without an error."""
    module, ids = repeating_gpt2(D_TOY)
    model = LanguageModel(ModelIdentity("toy", None, "0" * 16), module, byte_tokenizer())
    basis = torch.linalg.qr(torch.randn(D_TOY, D_TOY, generator=torch.Generator().manual_seed(0)))[0]
    rows = torch.cat([basis, -basis])
    sae = SparseAutoencoder("standard", rows.T.contiguous(), torch.zeros(len(rows)), rows, torch.zeros(D_TOY))
    made = attribute(model, ids, {0: sae, 1: sae}, max_features=10_000)
    errors = made.graph.weight[made.graph.kind[made.graph.source] == "error"]
    assert np.abs(errors).max(initial=0) < 1e-3 * np.abs(made.graph.weight).max()
    found = faithfulness(made, 300)
    assert found.pearson.value >= 0.97
    assert abs(found.control_pearson.value) < 0.5


def repeating_gpt2(d: int, steps: int = 200, n: int = 6) -> tuple[torch.nn.Module, list[int]]:
    """A model of two blocks, trained on n random tokens twice, and one such prompt less its last token."""
    config = GPT2Config(
        vocab_size=264, n_embd=d, n_layer=2, n_head=4, n_positions=64, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        adam = torch.optim.Adam(module.parameters(), 3e-3)
        for _ in range(steps):
            read = torch.randint(3, 27, (64, n))
            ids = torch.cat([torch.ones(64, 1, dtype=torch.long), read, read], dim=1)
            logits = module(input_ids=ids, use_cache=False).logits[:, n:-1]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, n + 1 :].flatten())
            adam.zero_grad()
            loss.backward()
            adam.step()
    return module.requires_grad_(False), ids[0, :-1].tolist()


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
