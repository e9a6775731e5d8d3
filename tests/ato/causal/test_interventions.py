"""Interventions: which positions are replaced, and by what, against direct formulas."""

import numpy as np
import pytest
import torch

from ato.causal.interventions import (
    FEATURE_INTERVENTIONS,
    INTERVENTIONS,
    FeatureEdits,
    Intervention,
    PositionSet,
    ResidualEdits,
    random_rotation,
)
from ato.errors import SAEError, SettingsError
from ato.operators import TransportOperator
from ato.saes import SparseAutoencoder

T, D = 12, 6
SOME = PositionSet.parse("7,2,5")
EVERY = PositionSet.parse("all")


def operator(seed: int = 0, d_in: int = D) -> TransportOperator:
    rng = np.random.default_rng(seed)
    return TransportOperator(rng.normal(size=(D, d_in)), rng.normal(size=D), "ridge", y_mean=rng.normal(size=D))


def residuals() -> dict[int, torch.Tensor]:
    rng = np.random.default_rng(9)
    return {layer: torch.tensor(rng.normal(size=(T, D)), dtype=torch.float32) for layer in (0, 1, 3)}


def editable() -> torch.Tensor:
    mask = torch.ones(T, dtype=torch.bool)
    mask[[0, 4]] = False
    return mask


def made(edits: ResidualEdits | FeatureEdits, given=None) -> dict[Intervention, tuple[torch.Tensor, torch.Tensor]]:
    return {edit: (mask, edited) for edit, mask, edited in edits.edits(given or residuals(), editable())}


def test_position_sets_are_read_sorted_without_duplicates_and_refused_otherwise():
    assert PositionSet.parse("70, 10,10,50") == PositionSet("70, 10,10,50", (10, 50, 70))
    assert (PositionSet.parse("0").positions, PositionSet.parse("3,9").longest, EVERY.longest) == ((0,), 9, 0)
    for text in ("", "1,,2", "-1", "none", "1.5"):
        with pytest.raises(SettingsError):
            PositionSet.parse(text)


def test_a_list_edits_what_it_says_and_all_edits_what_statistics_keep():
    assert SOME.mask(editable()).nonzero()[:, 0].tolist() == [2, 5, 7]
    assert PositionSet.parse("0,4").mask(editable()).nonzero()[:, 0].tolist() == [0, 4]
    assert torch.equal(EVERY.mask(editable()), editable())


def test_every_replacement_is_its_formula_at_the_edited_positions_and_nothing_elsewhere():
    x, ops = residuals(), {0: operator(0), 1: operator(1)}
    y = x[3].double().numpy()
    found = made(ResidualEdits(3, ops, [SOME, EVERY], seed=4))
    rotated = y @ random_rotation(D, 4).double().numpy().T
    truth = {("zero", None): 0 * y, ("mean", None): y * 0 + ops[0].y_mean, ("random_rotation", None): rotated}
    for source, own in ops.items():
        truth["transport", source] = x[source].double().numpy() @ own.matrix.T + own.bias
        truth["bias", source] = y * 0 + own.bias
        truth["identity", source] = x[source].double().numpy()
    assert set(found) == {Intervention(name, p.name, source) for name, source in truth for p in (SOME, EVERY)}
    for edit, (mask, edited) in found.items():
        assert torch.equal(mask, (SOME if edit.positions == SOME.name else EVERY).mask(editable()))
        expected = np.where(mask.numpy()[:, None], truth[edit.name, edit.source_layer], y)
        np.testing.assert_allclose(edited.numpy(), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(edited[~mask], x[3][~mask])


def test_the_random_rotation_keeps_norms_and_angles_and_changes_directions_the_same_way_each_time():
    rotation = random_rotation(40, 3).double()
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(40, dtype=torch.float64), rtol=0, atol=1e-6)
    rng = np.random.default_rng(3)
    assert torch.equal(random_rotation(40, 3), random_rotation(40, 3))
    assert not torch.allclose(random_rotation(40, 3), random_rotation(40, 4))
    y = torch.tensor(rng.normal(size=(500, 40)))
    cosine = torch.cosine_similarity(y @ rotation.T, y)
    assert abs(cosine.mean()) < 0.1
    assert cosine.abs().max() < 0.9


def test_half_precision_residuals_stay_in_their_precision_and_near_the_formula():
    x = {layer: value.bfloat16() for layer, value in residuals().items()}
    for edit, (_, edited) in made(ResidualEdits(3, {0: operator()}, [EVERY]), x).items():
        assert edited.dtype == torch.bfloat16, edit
    edited = made(ResidualEdits(3, {0: operator()}, [SOME]), x)[Intervention("transport", SOME.name, 0)][1]
    expected = x[0][[2, 5, 7]].double().numpy() @ operator().matrix.T + operator().bias
    np.testing.assert_allclose(edited[[2, 5, 7]].double().numpy(), expected, rtol=2**-7, atol=0.02)


def test_unknown_interventions_and_a_missing_train_mean_are_refused():
    with pytest.raises(SettingsError, match="rotate"):
        ResidualEdits(3, {0: operator()}, [SOME], ["rotate"])
    bare = TransportOperator(np.eye(D), np.zeros(D), "ridge")
    with pytest.raises(SettingsError, match="train mean"):
        ResidualEdits(3, {0: bare}, [SOME])
    others = [name for name in INTERVENTIONS if name != "mean"]
    assert len(made(ResidualEdits(3, {0: bare}, [SOME], others))) == len(others)


def sae() -> SparseAutoencoder:
    rng = np.random.default_rng(5)
    decoder = torch.tensor(rng.normal(size=(9, D)), dtype=torch.float32)
    return SparseAutoencoder("topk", decoder.T.contiguous(), torch.zeros(9), decoder, torch.zeros(D), k=2)


def test_feature_edits_change_one_component_where_the_sae_activates_the_feature():
    x, own, features = residuals(), operator(), (2, 7)
    y = x[3].double().numpy()
    active = sae().encode(x[3])[:, features].numpy() > 0
    found = made(FeatureEdits(3, {0: own}, sae(), features))
    assert len(found) == len(features) * len(FEATURE_INTERVENTIONS)
    y_hat = x[0].double().numpy() @ own.matrix.T + own.bias
    for i, feature in enumerate(features):
        u = sae().W_dec[feature].double().numpy()
        u = u / np.linalg.norm(u)
        where = active[:, i] & editable().numpy()
        assert where.any()
        assert not where.all()
        for name, target, source in (("feature_transport", y_hat @ u, 0), ("feature_zero", 0 * (y @ u), None)):
            mask, edited = found[Intervention(name, "active", source, feature)]
            assert mask.tolist() == where.tolist()
            np.testing.assert_allclose((edited.double().numpy() @ u)[where], target[where], rtol=1e-4, atol=1e-5)
            across = edited.double().numpy() - y
            np.testing.assert_allclose(across - np.outer(across @ u, u), 0 * y, atol=1e-5)
            assert torch.equal(edited[~mask], x[3][~mask])


def test_a_feature_beyond_the_sae_is_refused_by_name():
    with pytest.raises(SAEError, match=r"\[9\].*0 to 8"):
        FeatureEdits(3, {0: operator()}, sae(), [1, 9])
