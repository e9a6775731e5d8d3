"""JumpReLU training finds thresholds that keep the number of active features near k."""

from tests.ato.saes.training.planted import ACTIVE, held_out, planted, train


def test_jumprelu_learns_thresholds_near_the_wanted_sparsity():
    x, _ = planted()
    sae = train(x, architecture="jumprelu", n_tokens=120_000).sae
    found = held_out(sae, x)
    assert sae.architecture == "jumprelu"
    assert (sae.threshold >= 0).all()
    assert ACTIVE / 2 < found.l0 < 2 * ACTIVE
    assert found.fvu.value < 0.3
