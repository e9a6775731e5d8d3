"""A model that needs BOS is told by its tokenizer or by its losses."""

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing

from ato.models import load_model
from ato.models.bos import bos_effect
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("llama"), d_model=16, n_layers=1)


@pytest.fixture(scope="module")
def texts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, 259, n) for n in (40, 60, 33)]


def load(folder):
    return load_model(folder, device="cpu", dtype="float32")


def test_losses_are_of_the_same_tokens_with_and_without(folder, texts):
    model = load(folder)
    found = bos_effect(model, texts)
    losses = {True: [], False: []}
    for ids in texts:
        for bos in (True, False):
            whole = torch.tensor([[1, *ids] if bos else ids.tolist()])
            with torch.no_grad():
                logits = model.module(whole).logits[0]
            own = torch.nn.functional.cross_entropy(logits[:-1], whole[0, 1:], reduction="none")
            losses[bos] += own[(1 if bos else 0) + 16 :].tolist()
    assert (found.loss_with, found.loss_without) == (
        pytest.approx(np.mean(losses[True]), rel=1e-5),
        pytest.approx(np.mean(losses[False]), rel=1e-5),
    )
    assert not found.by_default


def test_a_model_that_guesses_better_behind_bos_needs_it(folder, texts, monkeypatch):
    model = load(folder)
    plain = model.token_losses

    def losses(ids, lengths):
        found = plain(ids, lengths)
        return found if bool((ids[:, 0] == 1).all()) else found + 1.8

    monkeypatch.setattr(model, "token_losses", losses)
    found = bos_effect(model, texts)
    assert found.needed
    assert "the model needs BOS and prepend_bos is off: loss" in str(found)
    assert "--set collect.prepend_bos=true" in str(found)
    assert "\n" not in str(found)
    monkeypatch.setattr(model, "token_losses", plain)
    assert not bos_effect(model, texts).needed


def test_a_tokenizer_that_puts_bos_by_default_says_so(folder, texts):
    model = load(folder)
    model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    found = bos_effect(model, texts)
    assert found.by_default
    assert found.needed
    assert "the tokenizer begins texts with BOS by default" in str(found)


def test_nothing_is_said_of_models_without_bos_or_texts_that_have_one(folder, texts):
    model = load(folder)
    assert bos_effect(model, [np.array([1, *texts[0]])]) is None
    assert bos_effect(model, []) is None
    model.tokenizer.bos_token = None
    assert bos_effect(model, texts) is None
