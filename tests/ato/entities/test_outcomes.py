"""Self-report and attention are those of plain passes, whatever the batch."""

import numpy as np
import pytest
import torch

from ato.entities.outcomes import SELF_REPORT_PREFILL, entity_attention, self_report, yes_no_ids
from ato.entities.steering import Places, Steer, placed
from ato.errors import LayerError, SettingsError
from ato.models import LanguageModel, load_model, pad
from ato.models.cached_run import cached_run
from tests.tiny_models import byte_tokenizer, save_tiny_model

LENGTHS = (21, 5, 13, 1, 30)
SPANS = ((3, 9), (0, 5), (12, 13), (0, 1), (20, 21))


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def model(request, tmp_path_factory) -> LanguageModel:
    folder = save_tiny_model(tmp_path_factory.mktemp(request.param), request.param)
    return load_model(folder, dtype="float32", attention="eager")


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, 259, n) for n in LENGTHS]


def hidden(model: LanguageModel, ids: np.ndarray) -> torch.Tensor:
    return cached_run(model, *pad([ids]), []).hidden[0]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_self_report_is_the_difference_of_two_logits_at_the_last_token(model, prompts, batch_size):
    found = self_report(model, prompts, yes_no=(70, 80), batch_size=batch_size)
    logits = [model.logits(hidden(model, ids)[-1]) for ids in prompts]
    np.testing.assert_allclose(found, [float(row[70] - row[80]) for row in logits], atol=1e-4)
    edit = placed(Steer(torch.ones(32), 1.0), Places("entity_last", LENGTHS, SPANS), layer=1)
    steered = self_report(model, prompts, [edit], yes_no=(70, 80), batch_size=batch_size)
    assert (np.abs(steered - found) > 1e-3).sum() >= 4


def test_yes_and_no_must_be_single_tokens():
    tokenizer = byte_tokenizer()
    with pytest.raises(SettingsError, match="' Yes' behind 'Answer:' is not a single token"):
        yes_no_ids(tokenizer)
    tokenizer.add_tokens([" Yes", " No"])
    assert yes_no_ids(tokenizer) == (259, 260)
    assert tokenizer.encode(f"{SELF_REPORT_PREFILL} No")[-1] == 260


@pytest.mark.parametrize("batch_size", [1, 3])
def test_attention_to_the_entity_is_the_sum_over_its_tokens_and_the_mean_over_heads(model, prompts, batch_size):
    found = entity_attention(model, prompts, SPANS, [2, 0], batch_size=batch_size)
    assert found.reason == ""
    for i, (ids, (first, end)) in enumerate(zip(prompts, SPANS)):
        theirs = model.module(torch.tensor(ids)[None], output_attentions=True).attentions
        for place, layer in enumerate([2, 0]):
            expected = float(theirs[layer][0, :, -1, first:end].mean(0).sum())
            assert found.weight[place, i] == pytest.approx(expected, abs=1e-5)
    assert found.weight[:, [1, 3]] == pytest.approx(1)  # the whole prompt


def test_attention_that_the_model_does_not_make_is_none_with_the_reason(tmp_path, prompts):
    fused = load_model(save_tiny_model(tmp_path), dtype="float32")
    found = entity_attention(fused, prompts, SPANS, [2])
    assert found.weight is None
    assert "model.attention=eager" in found.reason
    with pytest.raises(LayerError):
        entity_attention(fused, prompts, SPANS, [4])
