"""KL on ordinary text is that of plain passes, whatever the batch."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from ato.causal.text_kl import text_kl, text_kls
from ato.entities.orthogonal_weights import orthogonalised
from ato.entities.steering import Ablate, Places, Steer, placed
from ato.models import LanguageModel, load_model, pad
from ato.models.cached_run import cached_run
from ato.models.prompt_pass import prompt_pass
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama")), dtype="float32")


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, 259, n) for n in (21, 5, 13, 1, 30)]


def hidden(model: LanguageModel, ids: np.ndarray) -> torch.Tensor:
    return cached_run(model, *pad([ids]), []).hidden[0]


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
    monkeypatch.setattr("ato.causal.text_kl._HIDDEN_NUMBERS", held)

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
