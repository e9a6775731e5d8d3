"""Several layers replaced in one pass: the oracle is each sequence run alone with the blocks' outputs replaced by hand."""

import numpy as np
import pytest
import torch

from ato.errors import InputError
from ato.models import load_model
from ato.operators import TransportOperator
from ato.sae_studies.chain_splicing import chain_losses
from ato.sae_studies.innovation import InnovationSAE, without_features
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.edited_losses import SpliceBatch
from ato.saes.splicing import splice_losses
from tests.tiny_models import save_tiny_model
from tests.tiny_models import sequences_of as random_sequences

D, N_LAYERS = 32, 4


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(
        save_tiny_model(tmp_path_factory.mktemp("llama"), n_layers=N_LAYERS), device="cpu", dtype="float32"
    )


@pytest.fixture(scope="module")
def held_out():
    return random_sequences([20, 9, 14, 6, 11])


def sae_of(seed: int) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(seed)
    shapes = (D, 50), (50,), (50, D), (D,)
    return SparseAutoencoder("topk", *(0.2 * torch.randn(*s, generator=generator) for s in shapes), k=6)


def operator_of(source: int, target: int, scale: float = 0.2) -> TransportOperator:
    rng = np.random.default_rng(10 * source + target)
    return TransportOperator(scale * rng.normal(size=(D, D)), scale * rng.normal(size=D), "ridge", source, target)


def by_hand(model, sequence, coders):
    """Loss, and KL from the unedited model, of one sequence whose first token is left as it is."""
    ids = torch.tensor(sequence.token_ids, dtype=torch.long)[None]
    passed: dict[int, torch.Tensor] = {}

    def hook(layer):
        def replaced(module, args, output):
            y = output[0] if isinstance(output, tuple) else output
            if layer in coders:
                y, coder = y.clone(), coders[layer]
                if isinstance(coder, InnovationSAE):
                    x = passed[coder.layers[0]]
                    T, b = (torch.from_numpy(part).float() for part in (coder.operator.matrix, coder.operator.bias))
                    linear = x[0, 1:] @ T.T + b
                    y[0, 1:] = linear + coder.sae.reconstruct(y[0, 1:] - linear)
                else:
                    y[0, 1:] = coder.reconstruct(y[0, 1:])
            passed[layer] = y
            return (y, *output[1:]) if isinstance(output, tuple) else y

        return replaced

    with torch.no_grad():
        clean = model.module(ids).logits.double().log_softmax(-1)[0, :-1]
        hooks = [block.register_forward_hook(hook(layer)) for layer, block in enumerate(model.blocks)]
        edited = model.module(ids).logits.double().log_softmax(-1)[0, :-1]
        for one in hooks:
            one.remove()
    loss = torch.nn.functional.nll_loss(edited, ids[0, 1:], reduction="sum").item()
    return loss, torch.nn.functional.kl_div(edited, clean, log_target=True, reduction="sum").item()


def test_losses_and_kl_are_those_of_the_model_changed_by_hand_whatever_the_batches(model, held_out):
    later = {1: InnovationSAE(operator_of(0, 1), sae_of(1)), 3: InnovationSAE(operator_of(1, 3), sae_of(3))}
    chains = {
        "innovation": {0: sae_of(0), **later},
        "plain": {layer: sae_of(layer) for layer in (0, 1, 3)},
        "linear": {0: sae_of(0), **{layer: without_features(coder.operator) for layer, coder in later.items()}},
    }
    found, alone = (chain_losses(model, chains, held_out, batch_size=n) for n in (4, 1))
    for name, coders in chains.items():
        np.testing.assert_allclose(found.spliced[name], alone.spliced[name], rtol=1e-5)
        for row, sequence in enumerate(held_out):
            loss, kl = by_hand(model, sequence, coders)
            assert found.spliced[name][row] == pytest.approx(loss, rel=1e-4)
            assert found.kl[name][row] == pytest.approx(kl, rel=1e-3)
    assert list(found.zero) == [3]
    assert set(found.layer.values()) == {3}


def test_a_layer_alone_reads_its_source_layer_as_it_is(model, held_out):
    coders = {2: InnovationSAE(operator_of(0, 2), sae_of(2))}
    found = chain_losses(model, {"own": coders}, held_out)
    for row, sequence in enumerate(held_out):
        assert found.spliced["own"][row] == pytest.approx(by_hand(model, sequence, coders)[0], rel=1e-4)


@pytest.mark.parametrize("site", ["resid_post", "mlp_out"])
def test_one_plain_layer_is_what_splicing_gives_and_an_exact_innovation_loses_nothing(model, held_out, site):
    exact = SparseAutoencoder(
        "standard",
        torch.cat([torch.eye(D), -torch.eye(D)], 1),
        torch.zeros(2 * D),
        torch.cat([torch.eye(D), -torch.eye(D)]),
        torch.zeros(D),
    )
    norms, limit = {1: 1.0}, {"resid_post": 6.0, "mlp_out": 0.3}[site]  # some tokens are left as they are
    chains = {"plain": {1: sae_of(1)}, "exact": {1: InnovationSAE(operator_of(0, 1), exact)}}
    found = chain_losses(model, chains, held_out, median_norm=norms, max_norm_multiple=limit, site=site)
    expected = splice_losses(
        model, {"plain": (1, sae_of(1))}, held_out, median_norm=norms, max_norm_multiple=limit, kl=True, site=site
    )
    np.testing.assert_allclose(found.spliced["plain"], expected.spliced["plain"], rtol=1e-5)
    np.testing.assert_allclose(found.kl["plain"], expected.kl["plain"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.zero[1], expected.zero[1], rtol=1e-5)
    np.testing.assert_allclose(found.spliced["exact"], found.clean, rtol=1e-4)


def test_few_hidden_states_are_held_at_once_whatever_the_number_of_chains_and_a_chain_may_be_named_zero(
    model, held_out, monkeypatch
):
    chains = {name: {1: sae_of(seed), 2: sae_of(seed + 9)} for seed, name in enumerate(["zero", "a", "b", "c", "d"])}
    whole, held = chain_losses(model, chains, held_out), []
    sums = SpliceBatch.sums

    def counted(self, plain, changed, **options):
        held.append(len(changed))
        return sums(self, plain, changed, **options)

    monkeypatch.setattr(SpliceBatch, "sums", counted)
    monkeypatch.setattr(
        "ato.saes.edited_losses._HIDDEN_NUMBERS", 2 * 20 * D * len(held_out)
    )  # two, of the widest batch
    found = chain_losses(model, chains, held_out)
    assert set(held) == {2}
    for name in chains:
        np.testing.assert_allclose(found.spliced[name], whole.spliced[name], rtol=1e-6)
        np.testing.assert_allclose(found.kl[name], whole.kl[name], rtol=1e-4)
    assert found.spliced["zero"][0] == pytest.approx(by_hand(model, held_out[0], chains["zero"])[0], rel=1e-4)
    assert not np.allclose(found.spliced["zero"], found.zero[2])


def test_chains_of_other_layers_are_refused(model, held_out):
    with pytest.raises(InputError, match="chains of different layers"):
        chain_losses(model, {"a": {0: sae_of(0)}, "b": {1: sae_of(1)}}, held_out)
    with pytest.raises(InputError, match="or none"):
        chain_losses(model, {}, held_out)
    with pytest.raises(InputError, match="of layer 2 stands at layer 1"):
        chain_losses(model, {"a": {1: InnovationSAE(operator_of(0, 2), sae_of(2))}}, held_out)
