"""Self-report, attention and KL are those of plain passes, whatever the batch."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from ato.entities.orthogonal_weights import orthogonalised
from ato.entities.outcomes import SELF_REPORT_PREFILL, entity_attention, self_report, text_kl, text_kls, yes_no_ids
from ato.entities.steering import Ablate, Places, Steer, placed
from ato.errors import LayerError, SettingsError
from ato.models import LanguageModel, load_model, pad
from ato.models.cached_run import cached_run
from ato.models.prompt_pass import prompt_pass
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


def everywhere(batch: list[np.ndarray]) -> list:
    return [placed(Ablate(torch.ones(32)), Places("all", [len(ids) for ids in batch]), layer=2)]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_kl_on_text_is_that_of_the_two_distributions(model, prompts, batch_size):
    found = text_kl(model, iter(prompts), everywhere, batch_size=batch_size)
    for ids, value in zip(prompts, found):
        plain = model.logits(hidden(model, ids)).double().numpy()

        def edit(stream: torch.Tensor) -> torch.Tensor:
            return torch.cat([stream[:, :1], Ablate(torch.ones(32))(stream[:, 1:])], dim=1)

        edited = model.forward(torch.tensor(ids)[None], None, edits={2: edit}).hidden[0]
        q = softmax(model.logits(edited).double().numpy(), axis=1)
        assert value == pytest.approx(entropy(softmax(plain, axis=1), q, axis=1).mean(), rel=1e-3, abs=1e-6)


def test_kl_of_nothing_is_zero_and_of_changed_weights_is_not(model, prompts):
    assert text_kl(model, prompts) == pytest.approx(0, abs=1e-6)
    changed = text_kl(model, prompts, changed=partial(orthogonalised, model, torch.linspace(-1, 1, 32)))
    assert (changed > 1e-4).all()
    assert text_kl(model, prompts) == pytest.approx(0, abs=1e-6)
    assert len(text_kl(model, [])) == 0


@pytest.mark.parametrize("held", [1, 1 << 26])
def test_kls_of_several_edits_are_those_of_each(model, prompts, held, monkeypatch):
    monkeypatch.setattr("ato.entities.outcomes._HIDDEN_NUMBERS", held)

    def steered(layer: int, site: str, batch: list[np.ndarray]) -> list:
        return [placed(Steer(torch.ones(32), 0.3), Places("all", [len(ids) for ids in batch]), layer, site)]

    edits = [everywhere, partial(steered, 0, "resid_post"), partial(steered, 0, "mlp_out"), lambda batch: []]
    found = text_kls(model, prompts, edits, batch_size=2)
    assert found.shape == (4, 5)
    assert found[3] == pytest.approx(0, abs=1e-6)
    for edit, own in zip(edits, found):
        for i, ids in enumerate(prompts):
            plain, changed = (prompt_pass(model, [ids], [0], x).run.hidden[0] for x in ((), edit([ids])))
            log_p, log_q = (model.logits(x).double().log_softmax(1) for x in (plain, changed))
            expected = (log_p.exp() * (log_p - log_q)).sum(1).mean()
            assert own[i] == pytest.approx(float(expected), rel=1e-3, abs=1e-6)
    assert text_kls(model, [], edits).shape == (4, 0)
    assert text_kls(model, prompts, []).shape == (0, 5)
