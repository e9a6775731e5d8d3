"""Transcoders in place of the MLP: one that is the MLP changes nothing, and losses and KL are those of the edited model."""

import numpy as np
import pytest
import torch

from ato.errors import SAEError
from ato.models import load_model
from ato.saes.loss_recovered import ce_recovered
from ato.saes.transcoder import Transcoder
from ato.saes.transcoder_splicing import transcoder_splice
from tests.tiny_models import save_tiny_model
from tests.tiny_models import sequences_of as random_sequences

D = 32


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    loaded = load_model(save_tiny_model(tmp_path_factory.mktemp("llama"), n_layers=3), device="cpu", dtype="float32")
    mlp = loaded.blocks[1].mlp
    mlp.forward = lambda x: mlp.down_proj(torch.relu(mlp.gate_proj(x)))  # one that a transcoder can be
    return loaded


@pytest.fixture(scope="module")
def held_out():
    return random_sequences([20, 9, 14, 20, 6, 11, 17])


def exact(model) -> Transcoder:
    mlp = model.blocks[1].mlp
    W_enc, W_dec = mlp.gate_proj.weight.T.contiguous(), mlp.down_proj.weight.T.contiguous()
    return Transcoder("standard", W_enc, torch.zeros(W_enc.shape[1]), W_dec, torch.zeros(D))


def test_the_mlp_itself_loses_nothing_and_a_silent_transcoder_is_the_zero_ablation(model, held_out):
    silent = Transcoder("standard", torch.zeros(D, 4), torch.zeros(4), torch.zeros(4, D), torch.zeros(D))
    found = transcoder_splice(model, {"exact": (1, exact(model)), "silent": (1, silent)}, held_out, batch_size=3)
    np.testing.assert_allclose(found.spliced["exact"], found.clean, rtol=1e-5)
    np.testing.assert_allclose(found.spliced["silent"], found.zero[1], rtol=1e-6)
    np.testing.assert_allclose(found.kl["silent"], found.kl_zero[1], rtol=1e-6)
    of_exact, of_silent = (ce_recovered(found, name) for name in ("exact", "silent"))
    assert float(of_exact.kl) < 1e-6 < 1e-3 < float(of_silent.kl)
    assert of_silent.kl.low < of_silent.kl.value < of_silent.kl.high
    recovered = of_exact.ce_recovered
    assert recovered.value is None or recovered.value == pytest.approx(1, abs=1e-3)


def test_losses_and_kl_are_those_of_a_model_with_the_transcoder_in_it_whatever_the_batches(model, held_out):
    generator = torch.Generator().manual_seed(0)
    shapes = (D, 40), (40,), (40, D), (D,), (D, D)
    transcoder = Transcoder("topk", *(0.3 * torch.randn(*s, generator=generator) for s in shapes), k=4)
    found = transcoder_splice(model, {"t": (1, transcoder)}, held_out, batch_size=4)
    other = transcoder_splice(model, {"t": (1, transcoder)}, held_out, batch_size=1)
    np.testing.assert_allclose(found.kl["t"], other.kl["t"], rtol=1e-4)
    mlp = model.blocks[1].mlp

    def replaced(module, args, output):
        made = transcoder.reconstruct(args[0].flatten(0, 1)).view_as(output)
        return torch.cat([output[:, :1], made[:, 1:]], dim=1)

    for row, sequence in enumerate(held_out):
        ids = torch.tensor(sequence.token_ids, dtype=torch.long)[None]
        with torch.no_grad():
            clean = model.module(ids).logits.log_softmax(-1)[0, :-1]
            hook = mlp.register_forward_hook(replaced)
            edited = model.module(ids).logits.log_softmax(-1)[0, :-1]
            hook.remove()
        kl = torch.nn.functional.kl_div(edited, clean, log_target=True, reduction="sum").item()
        loss = torch.nn.functional.nll_loss(edited, ids[0, 1:], reduction="sum").item()
        assert found.kl["t"][row] == pytest.approx(kl, rel=1e-3)
        assert found.spliced["t"][row] == pytest.approx(loss, rel=1e-4)


def test_a_transcoder_of_another_layer_is_refused(model, held_out):
    here = exact(model)
    elsewhere = Transcoder(here.architecture, **here.weights, metadata={"hook_name": "blocks.0.mlp.hook_in"})
    with pytest.raises(SAEError, match=r"hook_name = blocks\.0\.mlp\.hook_in, but is used at mlp_in of layer 1"):
        transcoder_splice(model, {"t": (1, elsewhere)}, held_out)
