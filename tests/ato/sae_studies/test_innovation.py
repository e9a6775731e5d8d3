"""Innovation SAEs: planted new features are found, T = 0 is the plain SAE, and what is written loads back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ato.errors import InputError, LayerError, SAEError
from ato.operators import TransportOperator
from ato.operators.fitting import fit_operator
from ato.residuals import MemorySource, run_pass
from ato.sae_studies.dictionaries import recovery
from ato.sae_studies.innovation import Innovations, InnovationSAE, n_parameters, without_features
from ato.sae_studies.innovation_files import OPERATOR, load_innovation_sae, save_innovation_sae
from ato.sae_studies.innovation_quality import InnovationQuality
from ato.sae_studies.stream_quality import StreamQuality
from ato.saes import load_sae, save_sae
from ato.saes.quality import SAEQuality
from ato.saes.training.trainer import TrainingPlan, train_saes
from tests.ato.saes.random_saes import random_sae

D, N_CARRIED, N_NEW, N_SAE, SOURCE, TARGET = 32, 48, 12, 24, 2, 5
QUICK = {"n_tokens": 60_000, "batch_size": 256, "precision": "float32", "buffer_rows": 8_000}


def operator_of(matrix: np.ndarray, bias: np.ndarray, **more: object) -> TransportOperator:
    return TransportOperator(matrix, bias, "ridge", SOURCE, TARGET, **more)


def sparse_codes(rng: np.random.Generator, n: int, n_features: int, active: int) -> np.ndarray:
    """[n, n_features], so many of them active on each row."""
    chosen = rng.random((n, n_features)).argsort(1) < active
    return np.where(chosen, rng.uniform(1, 2, size=chosen.shape), 0)


@pytest.fixture(scope="module")
def planted():
    """x of carried features, y = T x + 2 of new ones: residuals, the new and the carried directions in y."""
    rng = np.random.default_rng(0)
    carried, new = (normalize(torch.from_numpy(rng.normal(size=(m, D))), dim=1).numpy() for m in (N_CARRIED, N_NEW))
    matrix = np.linalg.qr(rng.normal(size=(D, D)))[0]
    n = 8_000
    x = 3 * sparse_codes(rng, n, N_CARRIED, 3) @ carried + 0.5
    y = x @ matrix.T + sparse_codes(rng, n, N_NEW, 2) @ new - 1
    document = np.arange(n) // 50
    group = np.where(document % 8 == 7, 6, 0).astype(np.int16)  # test, else train
    source = MemorySource(
        {SOURCE: torch.from_numpy(x).float(), TARGET: torch.from_numpy(y).float()}, document=document, group=group
    )
    train = group == 0
    fit = fit_operator(x[train], y[train], "ridge")
    fitted = replace(fit.operator, source_layer=SOURCE, target_layer=TARGET)
    return source, fitted, torch.from_numpy(new), torch.from_numpy(carried @ matrix.T)


@pytest.fixture(scope="module")
def trained(planted):
    """The innovation SAE and the plain one, trained alike."""
    source, operator, _, _ = planted
    plan = [TrainingPlan("topk", N_SAE, 2)]
    (own,) = train_saes(Innovations(source, operator), TARGET, plan, **QUICK)
    (plain,) = train_saes(source, TARGET, plan, **QUICK)
    return InnovationSAE(operator, own.sae), plain.sae


def test_planted_new_features_are_found_and_the_plain_sae_spends_its_features_on_carried_ones(planted, trained):
    _, _, new, carried = planted
    coder, plain = trained
    assert (normalize(coder.W_dec.double(), dim=1) @ new.T).max(0).values.min() > 0.95  # every one of them
    nearest_new, nearest_carried = (
        (normalize(plain.W_dec.double(), dim=1) @ some.T).max(1).values for some in (new, normalize(carried, dim=1))
    )
    assert (nearest_carried > nearest_new).double().mean() > 0.9
    assert recovery(new, plain.W_dec).estimate.value < 0.5


def test_without_an_operator_it_is_the_plain_sae_to_the_bit(planted):
    source, _, _, _ = planted
    nothing = operator_of(np.zeros((D, D)), np.zeros(D))
    plans = [TrainingPlan("topk", 16, 2), TrainingPlan("batchtopk", 16, 2)]
    quick = QUICK | {"n_tokens": 4_096}
    own = train_saes(Innovations(source, nothing), TARGET, plans, **quick)
    plain = train_saes(source, TARGET, plans, **quick)
    assert [one.sae.weights_hash for one in own] == [one.sae.weights_hash for one in plain]
    assert [one.log for one in own] == [one.log for one in plain]
    (block,) = MemorySource(
        {layer: torch.randn(64, D, generator=torch.Generator().manual_seed(layer)) for layer in (SOURCE, TARGET)}
    ).blocks()
    x, y = block.residuals[SOURCE], block.residuals[TARGET]
    assert torch.equal(InnovationSAE(nothing, own[0].sae).reconstruct(x, y), plain[0].sae.reconstruct(y))


def test_rows_are_what_the_operator_leaves_and_the_source_layer_stays(planted):
    source, operator, _, _ = planted
    innovations = Innovations(source, operator)
    assert (innovations.layers, innovations.d_model) == ((SOURCE, TARGET), D)
    for raw, found in zip(source.blocks(), innovations.blocks(), strict=True):
        expected = raw.residuals[TARGET].double() - operator(raw.residuals[SOURCE].double())
        torch.testing.assert_close(found.residuals[TARGET].double(), expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(found.residuals[SOURCE], raw.residuals[SOURCE])
    (first, *_) = innovations.blocks([TARGET], ["train"])
    assert list(first.residuals) == [TARGET]
    assert not list(innovations.blocks([TARGET], ["val"]))
    with pytest.raises(LayerError, match="no innovations of layers"):
        next(innovations.blocks([3]))
    with pytest.raises(LayerError, match=r"layers \[5\] are not in this source"):
        Innovations(MemorySource({SOURCE: torch.zeros(3, D)}), operator)


@pytest.mark.parametrize("knows_its_mean", [True, False])
def test_fvu_is_that_of_y_and_times_the_variances_that_of_the_innovation(planted, trained, knows_its_mean):
    source, operator, _, _ = planted
    coder, _ = trained
    coder = replace(coder, operator=operator if knows_its_mean else replace(operator, y_mean=None))
    quality, of_innovation = StreamQuality(coder, TARGET), SAEQuality(coder.sae, TARGET)
    run_pass(Innovations(source, operator), [quality, of_innovation], splits=["test"])
    blocks = list(source.blocks(splits=["test"]))
    x, y = (torch.cat([block.residuals[layer] for block in blocks]) for layer in (SOURCE, TARGET))
    y_hat, v = coder.reconstruct(x, y).double(), y.double() - operator(x.double())
    y = y.double()
    error, varies = (y - y_hat).square().sum(), lambda of: (of - of.mean(0)).square().sum()
    found = quality.result()
    assert found.fvu.value == pytest.approx(float(error / varies(y)), rel=1e-4)
    assert found.fvu.low < found.fvu.value < found.fvu.high
    assert of_innovation.result().fvu.value == pytest.approx(float(error / varies(v)), rel=1e-4)
    centred = y_hat - y_hat.mean(0)
    slope = ((y - y.mean(0)) * centred).sum() / centred.square().sum()
    assert found.shrinkage.value == pytest.approx(float(slope), rel=1e-4)
    assert found.l0.value == pytest.approx(2, abs=0.01)
    whole = StreamQuality(coder, TARGET)
    parts = [StreamQuality(coder, TARGET) for _ in range(2)]
    for number, block in enumerate(Innovations(source, operator).blocks()):
        whole.update(block)
        parts[number % 2].update(block)
    assert (parts[0] + parts[1]).result().fvu.value == pytest.approx(whole.result().fvu.value, rel=1e-12)


def test_what_the_operator_predicts_is_made_once_a_block(planted, trained, monkeypatch):
    source, operator, _, _ = planted
    coder, _ = trained
    blocks, calls = list(Innovations(source, operator).blocks(splits=["test"])), []
    predicted = InnovationSAE.predicted

    def counted(self, x):
        calls.append(len(x))
        return predicted(self, x)

    monkeypatch.setattr(InnovationSAE, "predicted", counted)
    quality = StreamQuality(coder, TARGET)
    for block in blocks:
        quality.update(block)
    assert calls == [block.n for block in blocks]


def test_without_a_token_or_a_variance_there_is_no_fvu(trained):
    coder, _ = trained
    assert InnovationQuality(coder, TARGET).result().fvu.value is None
    constant = {SOURCE: torch.ones(30, D), TARGET: torch.ones(30, D)}
    quality = InnovationQuality(coder, TARGET)
    run_pass(Innovations(MemorySource(constant, document=np.arange(30) // 3), coder.operator), [quality])
    assert quality.result().fvu.value is None


def test_the_operator_alone_rebuilds_what_it_predicts(planted):
    source, operator, _, _ = planted
    (block, *_) = source.blocks()
    x, y = block.residuals[SOURCE], block.residuals[TARGET]
    alone = without_features(operator)
    assert torch.equal(alone.reconstruct(x, y), operator(x))
    assert not len(alone.active(y).feature)


def test_parameters_count_the_operator(trained):
    coder, plain = trained
    assert n_parameters(plain) == 2 * D * N_SAE + N_SAE + D
    assert coder.n_parameters == n_parameters(plain) + D * D + D


def test_an_operator_of_another_width_or_without_layers_is_refused(trained):
    _, plain = trained
    with pytest.raises(SAEError, match="reads width 32, the operator gives 7"):
        InnovationSAE(operator_of(np.zeros((7, D)), np.zeros(7)), plain)
    with pytest.raises(SAEError, match="does not say its layers"):
        InnovationSAE(TransportOperator(np.zeros((D, D)), np.zeros(D), "ridge"), plain)


@pytest.mark.parametrize("architecture", ["topk", "jumprelu", "standard"])
def test_a_folder_loads_back_to_the_bit_and_is_no_sae_of_residuals(tmp_path, architecture):
    sae = random_sae(architecture)
    rng = np.random.default_rng(1)
    own = operator_of(rng.normal(size=(sae.d_in, 6)), rng.normal(size=sae.d_in), y_mean=rng.normal(size=sae.d_in))
    coder = InnovationSAE(own, replace(sae, metadata={"hook_name": "blocks.5.hook_resid_post"}), "ridge-key")
    folder = save_innovation_sae(coder, tmp_path / "own")
    found = load_innovation_sae(folder)
    assert found.weights_hash == coder.weights_hash
    assert (found.operator_key, found.layers, found.operator.method) == ("ridge-key", (SOURCE, TARGET), "ridge")
    x, y = torch.randn(20, 6), torch.randn(20, sae.d_in)
    assert torch.equal(found.reconstruct(x, y), coder.reconstruct(x, y))
    again = save_innovation_sae(found, tmp_path / "again")
    assert all((again / file.name).read_bytes() == file.read_bytes() for file in folder.iterdir())
    with pytest.raises(SAEError, match="an SAE of innovations"):
        load_sae(folder)
    with pytest.raises(SAEError, match="reads residuals, not innovations"):
        load_innovation_sae(save_sae(sae, tmp_path / "plain"))
    replace(own, source_layer=1).save(folder / OPERATOR)
    with pytest.raises(SAEError, match="copy SAE and operator from one folder"):
        load_innovation_sae(folder)
    (folder / OPERATOR).unlink()
    with pytest.raises(InputError):
        load_innovation_sae(folder)
