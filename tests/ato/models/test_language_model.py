"""What a loaded model tells of itself, refuses, and does for several threads at once."""

import threading

import numpy as np
import pytest
import torch

from ato.errors import LayerError, ModelError
from ato.models import LanguageModel, load_model, pad
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama")), device="cpu", dtype="float32")


def test_a_loaded_model_knows_its_shape_and_its_special_tokens(model):
    assert (model.n_layers, model.d_model, model.vocabulary_size, model.context_length) == (4, 32, 264, 512)
    assert model.special_token_ids == {0, 1, 2}
    assert (model.device.type, model.dtype) == ("cpu", torch.float32)
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_threads_that_share_a_model_do_not_disturb_each_other(model):
    ids, lengths = pad([np.arange(3, 40)])
    residuals = model.residuals(ids, lengths, [1])[1]
    truth = model.token_losses(ids, lengths)
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(10):
            losses = (
                model.losses_from(1, residuals, ids, lengths)
                if number % 2
                else model.token_losses(ids, lengths, edit=lambda stream: stream, layer=2)
            )
            if not torch.equal(losses, truth):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_right_padding_marks_lengths_and_nothing_else():
    ids, lengths = pad([np.array([5, 6, 0], dtype=np.int32), np.array([7], dtype=np.int32)])
    assert ids.tolist() == [[5, 6, 0], [7, 0, 0]]
    assert lengths.tolist() == [3, 1]


def test_a_layer_beyond_the_model_is_named_with_the_range(model):
    batch = pad([np.arange(3, 20)])
    with pytest.raises(LayerError, match=r"layers \[4\].*layers 0 to 3"):
        model.residuals(*batch, [1, 4])
    with pytest.raises(LayerError, match="0 to 3"):
        model.token_losses(*batch, edit=lambda stream: stream, layer=-1)


def test_a_sequence_beyond_the_context_is_refused(model):
    with pytest.raises(ModelError, match="context of 512"):
        model.residuals(torch.zeros(1, 513, dtype=torch.long), torch.tensor([513]), [0])


def test_an_edit_needs_a_layer_and_a_layer_an_edit(model):
    batch = pad([np.arange(3, 20)])
    for half in ({"edit": lambda stream: stream}, {"layer": 1}):
        with pytest.raises(LayerError, match="pass both or neither"):
            model.token_losses(*batch, **half)


def test_nothing_asked_for_runs_nothing(model):
    ran = []
    hook = model.blocks[0].register_forward_hook(lambda *_: ran.append(0))
    try:
        found = model.read(*pad([np.arange(3, 20)]), [])
    finally:
        hook.remove()
    assert not ran
    assert not found.residuals
