"""Log-probabilities of answers are those of full forwards, for every family, batch and edit."""

import numpy as np
import pytest
import torch

from ato.errors import ModelError
from ato.models import LanguageModel, load_model, pad
from ato.models.prompt_pass import GenerationEdit
from ato.models.scoring import answer_log_probabilities, p_correct
from tests.tiny_models import FAMILIES, save_tiny_model


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param), dtype="float32")


def ids(rng: np.random.Generator, *lengths: int) -> list[np.ndarray]:
    return [rng.integers(3, 259, n) for n in lengths]


@pytest.fixture(scope="module")
def asked() -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    rng = np.random.default_rng(0)
    return ids(rng, 12, 3, 20, 1, 7), [ids(rng, 1, 4, 11), ids(rng, 2), [], ids(rng, 1, 1), ids(rng, 3, 9)]


def expected(model: LanguageModel, prompt: np.ndarray, answer: np.ndarray, edit=None) -> float:
    batch = pad([np.concatenate([prompt, answer])])
    losses = model.token_losses(*batch, **({} if edit is None else {"edit": edit, "layer": 1}))
    return -float(losses[0, len(prompt) - 1 :].sum())


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_answers_score_as_in_full_forwards(model, asked, batch_size):
    found = answer_log_probabilities(model, *asked, batch_size=batch_size)
    assert [len(scores) for scores in found] == [3, 1, 0, 2, 2]
    for prompt, answers, scores in zip(*asked, found):
        np.testing.assert_allclose(scores, [expected(model, prompt, answer) for answer in answers], atol=1e-3)


@pytest.mark.parametrize("known", [True, False])
def test_edits_hold_for_prompts_and_answers_with_and_without_a_cache(model, asked, known, monkeypatch):
    monkeypatch.setattr("ato.models.prompt_pass.caches", lambda model: known)
    direction = torch.linspace(-2, 2, 32)

    def function(value: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return value + (positions % 3 == 1)[..., None] * direction

    def edit(value: torch.Tensor) -> torch.Tensor:
        return value + (torch.arange(value.shape[1]) % 3 == 1)[:, None] * direction

    found = answer_log_probabilities(model, *asked, [GenerationEdit(1, function)], batch_size=4)
    for prompt, answers, scores in zip(*asked, found):
        np.testing.assert_allclose(scores, [expected(model, prompt, answer, edit) for answer in answers], atol=1e-3)


def test_the_share_of_the_gold_answers_is_that_of_their_probability():
    assert p_correct(np.log([0.2, 0.1]), np.log([0.1, 0.2])) == pytest.approx(0.5)
    assert p_correct(np.array([-2000.0]), np.array([-2000.0, -2000.0])) == pytest.approx(1 / 3)
    assert np.isnan(p_correct(np.array([]), np.array([-1.0])))
    assert np.isnan(p_correct(np.array([-1.0]), np.array([])))


def test_empty_and_too_long_answers_are_refused(model):
    with pytest.raises(ModelError, match="prompt 0"):
        answer_log_probabilities(model, [np.array([5])], [[np.array([], dtype=np.int64)]])
    with pytest.raises(ModelError, match="context of 512"):
        answer_log_probabilities(model, [np.full(510, 5)], [[np.array([7]), np.array([7, 7, 7])]])
    full = answer_log_probabilities(model, [np.full(3, 5), np.full(505, 5)], [[np.full(9, 7)], [np.full(7, 9)]])
    assert full[1][0] == pytest.approx(expected(model, np.full(505, 5), np.full(7, 9)), abs=1e-3)
