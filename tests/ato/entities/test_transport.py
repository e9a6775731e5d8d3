"""A latent carried by a planted map has r2 near 1, one computed on the way has none, and rules for what is missing."""

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from ato.entities.chosen import ChosenActivations, activations_of
from ato.entities.transport import EntityResiduals, latent_transport
from ato.errors import InputError
from ato.operators import TransportOperator
from tests.ato.entities.planted_entities import FICKLE, PLANTED, TALKATIVE, D, make_groups, make_residuals, make_sae

SAE = make_sae()


@pytest.fixture(scope="module")
def case() -> tuple[EntityResiduals, TransportOperator]:
    """Targets that the operator carries from the source, but for the row of the fickle latent, drawn anew."""
    groups = make_groups(400)
    target = make_residuals(groups)
    rng = np.random.default_rng(0)
    matrix = np.linalg.qr(rng.standard_normal((D, D)))[0]
    source = torch.tensor((target.double().numpy() - 1) @ matrix, dtype=torch.float32)
    target = target.clone()
    target[:, 2] = target[torch.randperm(400, generator=torch.Generator().manual_seed(0)), 2]
    return EntityResiduals(source, target), TransportOperator(matrix, np.ones(D), "ridge")


def test_what_the_map_carries_is_carried_and_what_is_drawn_anew_is_not(case):
    found = latent_transport(*case, SAE, [PLANTED, FICKLE])
    assert found.r2.low[0] > 0.999
    assert found.r2.high[1] < 0.1
    assert (found.r2_identity.value < found.r2.low[0]).all()
    assert (found.r2_mean.value <= 1e-12).all()


def test_r2_is_scikit_learns_on_the_activations(case):
    residuals, operator = case
    found = latent_transport(residuals, operator, SAE, [PLANTED, FICKLE, TALKATIVE])
    for column, latent in enumerate(found.latents):
        true = SAE.encode(residuals.target)[:, latent].double().numpy()
        predicted = SAE.encode(operator(residuals.source))[:, latent].double().numpy()
        identity = SAE.encode(residuals.source)[:, latent].double().numpy()
        assert found.r2.value[column] == pytest.approx(r2_score(true, predicted))
        assert found.r2_identity.value[column] == pytest.approx(r2_score(true, identity))
        assert found.n_active[column] == (true > 0).sum()


def test_neither_other_latents_nor_the_order_of_entities_change_an_interval(case):
    residuals, operator = case
    expected = latent_transport(residuals, operator, SAE, [PLANTED, FICKLE]).r2[1]
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    shuffled = EntityResiduals(residuals.source[order], residuals.target[order])
    found = latent_transport(shuffled, operator, SAE, [FICKLE]).r2[0]
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_a_latent_that_does_not_vary_another_width_and_no_entities_are_missing(case):
    residuals, operator = case
    quiet = make_sae()
    quiet.b_enc[5] = -100
    found = latent_transport(residuals, operator, quiet, [5, PLANTED])
    assert np.isnan(found.r2.value[0])
    assert np.isfinite(found.r2.value[1])
    narrow = TransportOperator(operator.matrix[:, :9], operator.bias, "ridge")
    found = latent_transport(EntityResiduals(residuals.source[:, :9], residuals.target), narrow, SAE, [PLANTED])
    assert np.isnan(found.r2_identity.value).all()
    none = EntityResiduals(residuals.source[:0], residuals.target[:0])
    assert np.isnan(latent_transport(none, operator, SAE, [PLANTED]).r2.value).all()
    with pytest.raises(InputError, match="a row for each entity"):
        EntityResiduals(residuals.source[:3], residuals.target)


def test_chosen_activations_are_those_of_the_encoder_and_missing_where_not_seen():
    x = make_residuals(make_groups(30))
    gathered = ChosenActivations(40, [PLANTED, 0, PLANTED]).update(np.arange(30) + 5, SAE.active(x))
    np.testing.assert_allclose(gathered.values[5:35], SAE.encode(x)[:, [PLANTED, 0, PLANTED]], rtol=1e-6)
    assert np.isnan(gathered.values[:5]).all()
    np.testing.assert_array_equal(activations_of(SAE, x, [PLANTED])[:, 0], gathered.values[5:35, 0])
    with pytest.raises(InputError, match="rows must be"):
        gathered.update(np.arange(3), SAE.active(x))
