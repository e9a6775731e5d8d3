"""KL of spliced models: torch's own divergence of the whole distributions is the oracle."""

from dataclasses import astuple

import numpy as np
import pytest
import torch

from ato.models import LanguageModel, load_model
from ato.models.losses import losses_and_kl_of
from ato.numerics.intervals import Estimate
from ato.saes.edited_losses import SpliceLosses
from ato.saes.loss_recovered import ce_recovered
from ato.saes.splicing import splice_losses
from ato.text import TokenSequence
from tests.ato.saes.test_quality import dead_sae, identity_sae, random_sae
from tests.tiny_models import save_tiny_model

LENGTHS = [20, 9, 14, 20, 6, 11]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("model")), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def sequences() -> list[TokenSequence]:
    rng = np.random.default_rng(0)
    return [
        TokenSequence(40 + i, f"{i:016x}", i, "test", None, 0, rng.integers(3, 200, n).astype(np.int32), "")
        for i, n in enumerate(LENGTHS)
    ]


def test_losses_and_kl_are_those_of_torch_however_many_tokens_are_taken_at_a_time(monkeypatch):
    torch.manual_seed(0)
    head, plain = torch.randn(6, 50), torch.randn(700, 6)
    changed, labels = [plain + 0.3 * torch.randn(700, 6), plain], torch.randint(50, (700,))
    losses, kl = losses_and_kl_of(lambda x: x @ head, plain, changed, labels)
    log_p = (plain @ head).log_softmax(1)
    for i, hidden in enumerate(changed):
        log_q = (hidden @ head).log_softmax(1)
        expected = torch.nn.functional.kl_div(log_q, log_p, log_target=True, reduction="none").sum(1)
        torch.testing.assert_close(kl[i], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(losses[i], torch.nn.functional.nll_loss(log_q, labels, reduction="none"))
    assert not kl[1].any()  # nothing was changed
    monkeypatch.setattr("ato.models.losses._HEAD_TOKENS", 14)
    monkeypatch.setattr("ato.models.losses._CACHED_NUMBERS", 150)
    for whole, parts in zip((losses, kl), losses_and_kl_of(lambda x: x @ head, plain, changed, labels), strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("site", ["resid_post", "mlp_out"])
def test_kl_is_that_of_the_spliced_model_one_sequence_at_a_time(model, sequences, site):
    sae, layer = random_sae(model.width(site)), 1
    found = splice_losses(model, {"sae": (layer, sae)}, sequences, batch_size=4, site=site, kl=True)

    def splice(x: torch.Tensor) -> torch.Tensor:
        edited = x.clone()
        edited[:, 1:] = sae.reconstruct(x[:, 1:].flatten(0, 1)).view_as(x[:, 1:])
        return edited

    for row, sequence in enumerate(sequences):
        ids, lengths = torch.tensor(sequence.token_ids, dtype=torch.long)[None], torch.tensor([LENGTHS[row]])
        log_p, log_q = (
            model.logits(model.run_padded(ids, lengths, edits=edits, site=site).hidden)[0, :-1].double().log_softmax(1)
            for edits in ({}, {layer: splice})
        )
        expected = torch.nn.functional.kl_div(log_q, log_p, log_target=True, reduction="sum").item()
        assert found.kl["sae"][row] == pytest.approx(expected, rel=1e-3)
        assert found.kl_zero[layer][row] > 0


def test_asking_for_kl_changes_no_loss_and_batches_and_padding_change_nothing(model, sequences, monkeypatch):
    d = model.d_model
    saes = {"exact": (0, identity_sae(d)), "dead": (0, dead_sae(d)), "sae": (1, random_sae(d))}
    plain = splice_losses(model, saes, sequences, batch_size=2)
    assert plain.kl == plain.kl_zero == {}
    with_kl = splice_losses(model, saes, sequences, batch_size=6, kl=True)
    monkeypatch.setattr("ato.saes.edited_losses._HIDDEN_NUMBERS", 1)  # one edit at a time
    alone = splice_losses(model, saes, sequences, batch_size=1, kl=True)
    for name, (layer, _) in saes.items():
        for other in (with_kl, alone):
            np.testing.assert_allclose(other.spliced[name], plain.spliced[name], rtol=1e-5)
            np.testing.assert_allclose(other.zero[layer], plain.zero[layer], rtol=1e-5)
        np.testing.assert_allclose(alone.kl[name], with_kl.kl[name], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(with_kl.kl["exact"], 0, atol=1e-5)
    np.testing.assert_allclose(with_kl.kl["dead"], with_kl.kl_zero[0], rtol=1e-6)


def test_kl_has_its_interval_by_document_and_the_share_that_is_recovered():
    n = np.array([10, 20, 10, 40, 10, 10])
    losses = SpliceLosses(
        sequence_id=np.arange(6),
        document=np.array([0, 1, 2, 3, 4, 4]),
        n_predicted=n,
        clean=2.0 * n,
        spliced={"s": 3.0 * n},
        zero={1: 4.0 * n},
        layer={"s": 1},
        kl={"s": 0.5 * n},
        kl_zero={1: 2.0 * n},
    )
    found = ce_recovered(losses, "s")
    assert astuple(found.kl) == pytest.approx((0.5, 0.5, 0.5))  # equal in every document
    assert found.kl_recovered.value == pytest.approx(0.75)
    assert (found.n_tokens, found.n_documents) == (100, 5)


def test_kl_is_missing_where_it_was_not_asked_for_and_nothing_is_recovered_where_zeroing_changes_nothing(
    model, sequences
):
    plain = ce_recovered(splice_losses(model, {"sae": (1, random_sae(model.d_model))}, sequences), "sae")
    assert plain.kl == plain.kl_recovered == Estimate(None)
    untouched = splice_losses(model, {"sae": (1, random_sae(model.d_model))}, sequences, median_norm={1: 1e-9}, kl=True)
    found = ce_recovered(untouched, "sae")
    assert found.kl.value == pytest.approx(0, abs=1e-9)
    assert found.kl_recovered.value is None
    assert found.ce_recovered.value is None
