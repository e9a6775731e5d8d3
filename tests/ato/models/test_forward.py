"""Reading, editing and restarting forward passes, for every supported family."""

import numpy as np
import pytest
import torch

from ato.models import LanguageModel, load_model, pad
from tests.tiny_models import FAMILIES, n_hooks, plant_linear_blocks, save_identity_model, save_tiny_model

LENGTHS = [24, 17, 5]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory) -> LanguageModel:
    folder = save_tiny_model(tmp_path_factory.mktemp(request.param), request.param)
    return load_model(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return pad([rng.integers(3, 259, n) for n in LENGTHS])


def test_residuals_are_the_models_own_hidden_states_before_the_final_norm(model, batch):
    ids, lengths = batch
    residuals = model.residuals(ids, lengths, range(model.n_layers))
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    truth = model.module(ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
    for layer in range(model.n_layers - 1):
        assert torch.equal(residuals[layer][mask], truth[layer + 1][mask])
    last = residuals[model.n_layers - 1]
    assert torch.equal(model.parts.final_norm(last)[mask], truth[-1][mask])
    assert not torch.allclose(last[mask], truth[-1][mask])


def test_token_losses_are_the_models_own(model, batch):
    ids, lengths = batch
    labels = torch.where(torch.arange(ids.shape[1]) < lengths[:, None], ids, -100)
    truth = model.module(ids, attention_mask=(labels >= 0).long(), labels=labels).loss
    losses = model.token_losses(ids, lengths)
    assert losses.shape == (3, ids.shape[1] - 1)
    assert losses.sum() / (lengths - 1).sum() == pytest.approx(truth.item(), rel=1e-5)


def test_padding_changes_no_loss_and_its_own_losses_are_zero(model, batch):
    ids, lengths = batch
    together = model.token_losses(ids, lengths)
    for row, length in enumerate(LENGTHS):
        alone = model.token_losses(ids[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row, : length - 1], alone[0], rtol=1e-4, atol=1e-5)
        assert (together[row, length - 1 :] == 0).all()


def test_starting_at_a_layer_from_its_own_residual_gives_the_losses_of_the_whole_pass(model, batch):
    ids, lengths = batch
    full = model.token_losses(ids, lengths)
    residuals = model.residuals(ids, lengths, range(model.n_layers))
    for layer in range(model.n_layers):
        assert torch.equal(model.losses_from(layer, residuals[layer], ids, lengths), full)


def test_starting_at_a_layer_from_another_residual_equals_editing_that_layer(model, batch):
    ids, lengths = batch
    other = torch.randn(*ids.shape, model.d_model, generator=torch.Generator().manual_seed(1))
    edited = model.token_losses(ids, lengths, edit=lambda stream: other, layer=1)
    assert torch.equal(model.losses_from(1, other, ids, lengths), edited)
    assert not torch.allclose(edited, model.token_losses(ids, lengths))


def test_an_edit_by_the_true_residual_changes_no_loss(model, batch):
    ids, lengths = batch
    truth = model.residuals(ids, lengths, [2])[2]
    assert torch.equal(
        model.token_losses(ids, lengths, edit=lambda stream: truth, layer=2), model.token_losses(ids, lengths)
    )


def test_an_edit_at_a_position_changes_no_loss_before_it(model, batch):
    ids, lengths = batch

    def zero_position_9(stream):
        stream = stream.clone()
        stream[:, 9] = 0
        return stream

    before, after = model.token_losses(ids, lengths), model.token_losses(ids, lengths, edit=zero_position_9, layer=1)
    assert torch.equal(before[:, :9], after[:, :9])
    assert (before[:2, 9:] != after[:2, 9:]).any(dim=1).all()


def test_blocks_above_the_highest_layer_and_the_head_are_not_run(model, batch):
    ran = []
    watched = [*enumerate(model.blocks), ("head", model.parts.head)]
    # Attention and MLP lie inside the blocks: whether they ran shows whether the block did its work.
    hooks = [
        next(part.children() if name != "head" else iter([part])).register_forward_hook(
            lambda *_, name=name: ran.append(name)
        )
        for name, part in watched
    ]
    try:
        model.residuals(*batch, [0, 2])
        assert sorted(ran) == [0, 1, 2]
        ran.clear()
        model.hidden_from(1, torch.zeros(*batch[0].shape, model.d_model), *batch)
        assert ran == [2, 3]
    finally:
        for hook in hooks:
            hook.remove()


def test_no_hook_and_no_stand_in_is_left_even_after_an_error(model, batch):
    before = n_hooks(model)
    model.residuals(*batch, [0, 1])
    model.token_losses(*batch, edit=lambda stream: stream, layer=1)
    with pytest.raises(ZeroDivisionError):
        model.token_losses(*batch, edit=lambda stream: 1 / 0, layer=1)
    with pytest.raises(RuntimeError):
        model.losses_from(2, torch.zeros(1, 2, 3), *batch)
    assert n_hooks(model) == before
    assert not any("forward" in block.__dict__ for block in model.blocks)


class TupleBlock(torch.nn.Module):
    """A block as transformers 4 has them in some families: it returns a tuple."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, *args, **kwargs):
        return self.block(*args, **kwargs), None


class UnpackingList(torch.nn.ModuleList):
    """Blocks for a body that takes the first entry of what they return."""

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [lambda *args, block=block, **kwargs: block(*args, **kwargs)[0] for block in self]
        return super().__getitem__(index)


def test_blocks_that_return_tuples_are_read_edited_and_bypassed_alike(tmp_path, batch):
    plain = load_model(save_tiny_model(tmp_path), device="cpu", dtype="float32")
    module = load_model(tmp_path, device="cpu", dtype="float32").module
    module.model.layers = UnpackingList(TupleBlock(block) for block in module.model.layers)
    tupled = LanguageModel(plain.identity, module, plain.tokenizer)
    assert torch.equal(tupled.token_losses(*batch), plain.token_losses(*batch))
    mine, truth = tupled.residuals(*batch, [0, 2]), plain.residuals(*batch, [0, 2])
    assert torch.equal(mine[2], truth[2])
    assert torch.equal(tupled.losses_from(2, mine[2], *batch), plain.token_losses(*batch))
    halved = [m.token_losses(*batch, edit=lambda stream: stream / 2, layer=1) for m in (tupled, plain)]
    assert torch.equal(*halved)


def test_blocks_that_add_nothing_give_the_embedding_at_every_layer(tmp_path, batch):
    for family in ("gpt2", "gpt_neox", "llama", "gemma2"):
        model = load_model(save_identity_model(tmp_path / family, family), device="cpu", dtype="float32")
        residuals = model.residuals(*batch, range(model.n_layers))
        assert all(torch.equal(residuals[0], residual) for residual in residuals.values())


def test_planted_linear_blocks_transport_as_planted(tmp_path, batch):
    model = load_model(save_tiny_model(tmp_path), device="cpu", dtype="float32")
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=(32, 32)) / 10 for _ in range(4)]
    plant_linear_blocks(model.blocks, matrices)
    x = model.residuals(*batch, range(4))
    expected = x[1].double() @ ((np.eye(32) + matrices[3]) @ (np.eye(32) + matrices[2])).T
    torch.testing.assert_close(x[3].double(), expected, rtol=1e-4, atol=1e-4)
