"""A text that is continued, and begins like the one before, predicts what whole passes do."""

import numpy as np
import pytest
import torch

from ato.errors import ModelError
from ato.models import LanguageModel, load_model, pad
from ato.models.kept_text import KeptText
from tests.tiny_models import CONTEXT, save_tiny_model


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma3"])
def model(request, tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param), dtype="float32")


@pytest.fixture(params=[True, False], ids=["cached", "whole"])
def text(model, request, monkeypatch) -> KeptText:
    monkeypatch.setattr("ato.models.kept_text.caches", lambda model: request.param)
    return KeptText(model)


def ids(n: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(3, 259, n).tolist()


def whole_pass(model: LanguageModel, tokens: list[int]) -> torch.Tensor:
    hidden = model.run_padded(*pad([np.array(tokens)])).hidden[0, -1]
    return model.logits(hidden).float().log_softmax(-1)


def test_texts_that_grow_and_change_predict_as_whole_passes(model, text):
    first, other = ids(20), ids(9, seed=1)
    for begun in (first, first[:12] + other, first, first[:5], other, [other[0]]):
        text.begin(begun)
        torch.testing.assert_close(text.next_log_probabilities(), whole_pass(model, begun), atol=1e-4, rtol=1e-4)
        text.feed([])
        text.feed([7])
        text.feed([8, 9, 10])
        grown = [*begun, 7, 8, 9, 10]
        assert text.ids == grown
        torch.testing.assert_close(text.next_log_probabilities(), whole_pass(model, grown), atol=1e-4, rtol=1e-4)


def test_continuations_score_as_in_whole_passes_and_leave_the_text_as_it_is(model, text):
    begun, continuations = ids(15), [ids(1, 2), ids(4, 3), ids(2, 4), ids(4, 3)]
    text.begin(begun)
    before = text.next_log_probabilities()
    scores = text.log_probabilities(continuations)
    for own, score in zip(continuations, scores):
        losses = model.token_losses(*pad([np.array(begun + own)]))[0, len(begun) - 1 :]
        assert score == pytest.approx(-float(losses.sum()), abs=1e-3)
    assert scores[1] == pytest.approx(scores[3])
    assert text.ids == begun
    text.feed([])
    torch.testing.assert_close(text.next_log_probabilities(), before)


def test_only_tokens_that_are_not_shared_are_run(model):
    text, begun = KeptText(model), ids(30)
    text.begin(begun)
    assert text.n_run == 30
    text.begin([*begun[:25], *ids(3, 1)])
    assert text.n_run == 33
    text.begin(begun[:25])  # what its last token predicts is not kept
    assert text.n_run == 34


def test_texts_beyond_the_context_are_refused(model, text):
    with pytest.raises(ModelError):
        text.begin([])
    with pytest.raises(ModelError):
        text.begin(ids(CONTEXT + 1))
    text.begin(ids(CONTEXT - 2))
    with pytest.raises(ModelError, match="use shorter texts"):
        text.log_probabilities([[5, 6, 7]])
    with pytest.raises(ModelError, match="use shorter texts"):
        text.feed([5, 6, 7])
    with pytest.raises(ModelError):
        text.log_probabilities([[5], []])
