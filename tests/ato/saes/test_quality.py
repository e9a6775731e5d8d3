"""The quality of an SAE: hand-computed variance, losses that the model itself gives, limits that are kept."""

from dataclasses import astuple, replace

import numpy as np
import pytest
import torch

from ato.errors import MismatchError
from ato.models import LanguageModel, load_model
from ato.numerics.intervals import Estimate
from ato.residuals import MemorySource, ResidualBlock, run_pass
from ato.saes import ActiveFeatures, SparseAutoencoder
from ato.saes.edited_losses import SpliceLosses
from ato.saes.loss_recovered import ce_recovered
from ato.saes.quality import QualityLimits, SAEQuality
from ato.saes.splicing import splice_losses
from ato.text import TokenSequence
from tests.tiny_models import save_tiny_model

LAYER = 1


def identity_sae(d: int) -> SparseAutoencoder:
    """Reconstructs every residual exactly: one feature for each sign of each dimension."""
    signs = torch.cat([torch.eye(d), -torch.eye(d)])
    return SparseAutoencoder("standard", signs.T.contiguous(), torch.zeros(2 * d), signs, torch.zeros(d))


def dead_sae(d: int, value: torch.Tensor | None = None) -> SparseAutoencoder:
    """Has no active feature: reconstructs everything as its bias."""
    zeros = torch.zeros(d, 3)
    bias = torch.zeros(d) if value is None else value
    return SparseAutoencoder("standard", zeros, -torch.ones(3), zeros.T.contiguous(), bias)


def random_sae(d: int, seed: int = 0, d_sae: int = 32) -> SparseAutoencoder:
    rng = np.random.default_rng(seed)
    w_dec = torch.nn.functional.normalize(torch.tensor(rng.normal(size=(d_sae, d)), dtype=torch.float32), dim=1)
    return SparseAutoencoder("topk", w_dec.T.contiguous(), torch.zeros(d_sae), w_dec, torch.zeros(d), k=3)


def source(n: int = 600, d: int = 8, n_documents: int = 10, seed: int = 0, **options) -> MemorySource:
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(n, d)) + rng.normal(size=d) * 30, dtype=torch.float32)
    return MemorySource({LAYER: x}, document=np.sort(rng.integers(n_documents, size=n)), **options)


def quality(sae: SparseAutoencoder, from_: MemorySource) -> SAEQuality:
    accumulated = SAEQuality(sae, LAYER)
    run_pass(from_, [accumulated])
    return accumulated


def test_variance_explained_of_the_hand_computed_example_is_four_fifths():
    # x = [[2, 0], [0, 4]] and x_hat = [[2, 1], [0, 3]]: errors 1 + 1, variance about (1, 2): 5 + 5
    decoder = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    sae = SparseAutoencoder("standard", torch.eye(2), torch.zeros(2), decoder, torch.zeros(2))
    active = ActiveFeatures(2, torch.tensor([0, 1]), torch.tensor([0, 1]), torch.ones(2))
    zeros = np.zeros(2, dtype=np.int16)
    block = ResidualBlock({LAYER: torch.tensor([[2.0, 0.0], [0.0, 4.0]])}, zeros, zeros, zeros, np.arange(2), zeros)
    found = SAEQuality(sae, LAYER).update(block, active).result()
    assert 1 - found.fvu.value == pytest.approx(0.8, abs=1e-12)
    assert (found.l0, found.dead_share, found.n_tokens, found.n_documents) == (1, 0, 2, 2)


def test_quality_equals_the_two_pass_computation_with_a_mean_far_from_zero():
    data, sae = source(), random_sae(8)
    found = quality(sae, data).result()
    x = torch.cat([block.residuals[LAYER] for block in data.blocks()]).double()
    dense = sae.encode(x.float())
    errors = (x - sae.decode(dense).double()).square().sum()
    assert found.fvu.value == pytest.approx((errors / (x - x.mean(0)).square().sum()).item(), rel=1e-5)
    assert found.l0 == pytest.approx((dense > 0).sum(1).double().mean().item())
    assert found.dead_share == pytest.approx((~(dense > 0).any(0)).double().mean().item())
    assert found.fvu.low <= found.fvu.value <= found.fvu.high


def test_an_exact_sae_leaves_nothing_unexplained_and_a_constant_one_everything():
    data = source()
    assert quality(identity_sae(8), data).result().fvu.value == pytest.approx(0, abs=1e-9)
    x = torch.cat([block.residuals[LAYER] for block in data.blocks()])
    constant = quality(dead_sae(8, x.double().mean(0).float()), data).result()
    assert constant.fvu.value == pytest.approx(1, rel=1e-6)
    assert (constant.dead_share, constant.l0) == (1, 0)


def test_block_size_and_merging_change_nothing():
    sae = random_sae(8)
    whole = quality(sae, source(block_rows=1000)).result()
    halves = SAEQuality(sae, LAYER), SAEQuality(sae, LAYER)
    for i, block in enumerate(source(block_rows=60).blocks()):
        halves[i % 2].update(block)
    merged = (halves[1] + halves[0]).result()
    assert astuple(merged.fvu) == pytest.approx(astuple(whole.fvu), rel=1e-5)
    assert replace(merged, fvu=whole.fvu) == whole
    with pytest.raises(MismatchError):
        halves[0] + SAEQuality(random_sae(8, seed=1), LAYER)


def test_one_document_gives_no_interval_and_no_tokens_give_no_number():
    alone = quality(random_sae(8), source(n_documents=1)).result()
    assert alone.fvu.value is not None
    assert alone.fvu == Estimate(alone.fvu.value)
    nothing = SAEQuality(random_sae(8), LAYER).result()
    assert nothing.fvu == Estimate(None)
    assert np.isnan(nothing.l0)
    assert nothing.n_tokens == nothing.n_documents == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("model")), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def sequences() -> list[TokenSequence]:
    rng = np.random.default_rng(0)
    lengths = [20, 9, 14, 20, 6]
    return [
        TokenSequence(40 + i, f"{i:016x}", i // 2, "test", None, 0, rng.integers(3, 200, n).astype(np.int32), "")
        for i, n in enumerate(lengths)
    ]


def test_splicing_an_exact_sae_changes_no_loss_and_a_dead_one_is_the_zero_ablation(model, sequences):
    d, top = model.d_model, model.n_layers - 1
    saes = {"exact": (0, identity_sae(d)), "dead": (0, dead_sae(d)), "above": (top, identity_sae(d))}
    found = splice_losses(model, saes, sequences, batch_size=2)
    for name in ("exact", "above"):
        np.testing.assert_allclose(found.spliced[name], found.clean, rtol=1e-5)
    np.testing.assert_allclose(found.spliced["dead"], found.zero[0], rtol=1e-6)
    assert found.sequence_id.tolist() == [40, 41, 42, 43, 44]
    assert found.n_predicted.tolist() == [19, 8, 13, 19, 5]


def test_losses_are_those_of_the_edited_model_one_sequence_at_a_time(model, sequences):
    sae, layer = random_sae(model.d_model), 1
    found = splice_losses(model, {"sae": (layer, sae)}, sequences, batch_size=3)

    def splice(x: torch.Tensor) -> torch.Tensor:
        edited = x.clone()
        edited[:, 1:] = sae.reconstruct(x[:, 1:].flatten(0, 1)).view_as(x[:, 1:])
        return edited

    for row, sequence in enumerate(sequences):
        ids = torch.tensor(sequence.token_ids, dtype=torch.long)[None]
        lengths = torch.tensor([ids.shape[1]])
        assert found.clean[row] == pytest.approx(model.token_losses(ids, lengths).sum().item(), rel=1e-5)
        expected = model.token_losses(ids, lengths, splice, layer).sum().item()
        assert found.spliced["sae"][row] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("site", ["mlp_out", "attn_out", "attn_z"])
def test_at_other_sites_losses_are_those_of_the_model_edited_there(model, sequences, site):
    d, layer = model.width(site), 1
    saes = {"exact": (layer, identity_sae(d)), "dead": (layer, dead_sae(d)), "sae": (layer, random_sae(d))}
    found = splice_losses(model, saes, sequences, batch_size=2, site=site)
    np.testing.assert_allclose(found.spliced["exact"], found.clean, rtol=1e-5)
    np.testing.assert_allclose(found.spliced["dead"], found.zero[layer], rtol=1e-6)
    assert (np.abs(found.zero[layer] - found.clean) > 1e-4).all()

    def splice(x: torch.Tensor) -> torch.Tensor:
        edited = x.clone()
        edited[:, 1:] = saes["sae"][1].reconstruct(x[:, 1:].flatten(0, 1)).view_as(x[:, 1:])
        return edited

    for row, sequence in enumerate(sequences):
        ids = torch.tensor(sequence.token_ids, dtype=torch.long)[None]
        expected = model.token_losses(ids, torch.tensor([ids.shape[1]]), splice, layer, site=site).sum().item()
        assert found.spliced["sae"][row] == pytest.approx(expected, rel=1e-4)


def test_the_first_position_special_tokens_and_norm_outliers_are_not_edited(model, sequences):
    sequence = sequences[0]
    special = sorted(model.special_token_ids)[0]
    ids = sequence.token_ids.copy()
    ids[1:] = special
    only_special = TokenSequence(0, "0", 0, "test", None, 0, ids, "")
    saes = {"dead": (1, dead_sae(model.d_model))}
    found = splice_losses(model, saes, [only_special])
    np.testing.assert_allclose(found.zero[1], found.clean, rtol=1e-6)
    found = splice_losses(model, saes, sequences, median_norm={1: 1e-6})
    np.testing.assert_allclose(found.zero[1], found.clean, rtol=1e-6)
    found = splice_losses(model, saes, sequences, median_norm={1: 1e6})
    assert (np.abs(found.zero[1] - found.clean) > 1e-3).all()


def test_ce_recovered_weighs_tokens_and_leaves_documents_out():
    losses = SpliceLosses(
        sequence_id=np.arange(6),
        document=np.array([0, 0, 1, 2, 3, 4]),
        n_predicted=np.array([10, 10, 20, 40, 20, 20]),
        clean=np.array([20.0, 20, 40, 80, 40, 40]),
        spliced={"s": np.array([30.0, 30, 60, 120, 60, 60])},
        zero={1: np.array([40.0, 40, 80, 160, 80, 80])},
        layer={"s": 1},
    )
    found = ce_recovered(losses, "s")
    assert (found.ce_clean, found.ce_spliced, found.ce_zero) == (2, 3, 4)
    # every document recovers one half, with or without any of them
    assert astuple(found.ce_recovered) == pytest.approx((0.5, 0.5, 0.5))


def test_ce_recovered_is_one_for_the_clean_loss_zero_for_the_ablated_and_missing_without_an_increase():
    clean, zero = np.array([20.0, 30.0]), np.array([50.0, 70.0])

    def recovered(spliced: np.ndarray, zero: np.ndarray) -> float | None:
        losses = SpliceLosses(np.arange(2), np.arange(2), np.full(2, 10), clean, {"s": spliced}, {1: zero}, {"s": 1})
        return ce_recovered(losses, "s").ce_recovered.value

    assert recovered(clean, zero) == 1
    assert recovered(zero, zero) == 0
    assert recovered(clean, clean - 1) is None
    assert recovered(clean, clean) is None


def test_limits_decide_trust_and_name_what_is_missed():
    limits = QualityLimits(max_fvu=0.3, min_ce_recovered=0.8, max_dead_share=0.2)
    assert limits.judge(fvu=0.3, dead_share=0.2, ce_recovered=0.8) == (True, None)
    assert limits.judge(fvu=0.3, dead_share=0.2) == (True, None)
    trusted, reason = limits.judge(fvu=0.4, dead_share=0.5, ce_recovered=0.7)
    assert (trusted, reason) == (False, "fvu 0.4 > 0.3; ce_recovered 0.7 < 0.8; dead_share 0.5 > 0.2")
    assert limits.judge(fvu=float("nan"), dead_share=0.0)[0] is False
    assert QualityLimits(None, None, None).judge(fvu=9.0, dead_share=1.0, ce_recovered=-1.0) == (True, None)
