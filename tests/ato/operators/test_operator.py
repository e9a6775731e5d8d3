"""TransportOperator: callable on any rows, truncation as in the study, storage that refuses what it should."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from ato.errors import DamagedFileError, InputError, MismatchError, SettingsError
from ato.moments import Moments
from ato.operators import TransportOperator, load_operator


@pytest.fixture
def operator() -> TransportOperator:
    rng = np.random.default_rng(0)
    matrix, x_mean, y_mean = rng.standard_normal((5, 7)), rng.standard_normal(7), rng.standard_normal(5)
    return TransportOperator(
        matrix,
        y_mean - matrix @ x_mean,
        "ridge",
        source_layer=3,
        target_layer=5,
        alpha=10.0,
        rank=5,
        x_mean=x_mean,
        y_mean=y_mean,
        model="tiny",
        revision="main",
        weights_hash="abc",
        collection="tiny-0",
    )


def test_calling_it_applies_the_affine_map_and_keeps_the_type(operator):
    x = np.random.default_rng(1).standard_normal((11, 7))
    expected = x @ operator.matrix.T + operator.bias
    assert np.array_equal(operator(x), expected)
    assert np.allclose(operator(x[0]), expected[0])
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        y = operator(torch.from_numpy(x).to(dtype).reshape(1, 11, 7))
        assert y.dtype == dtype
        assert np.abs(y.double().numpy()[0] - expected).max() < tolerance
    assert operator(x.astype(np.float32)).dtype == np.float64


def test_rows_of_another_width_are_refused(operator):
    for rows in (np.ones((3, 5)), torch.ones(3, 5), np.float64(1)):
        with pytest.raises(InputError, match="width 7"):
            operator(rows)


def test_truncation_is_the_best_matrix_of_its_rank_and_keeps_the_train_mean(operator):
    singular = np.linalg.svd(operator.matrix, compute_uv=False)
    for rank in (1, 3, 5):
        low = operator.truncated(rank)
        assert np.linalg.matrix_rank(low.matrix) == rank == low.rank
        assert np.isclose(((low.matrix - operator.matrix) ** 2).sum(), (singular[rank:] ** 2).sum())
        assert np.allclose(low(operator.x_mean), operator.y_mean)
    assert operator.truncated(2).method == "svd"
    assert np.allclose(operator.truncated(5).matrix, operator.matrix)


def test_impossible_ranks_are_refused(operator):
    for rank in (0, 6, -1):
        with pytest.raises(SettingsError, match="1 to 5"):
            operator.truncated(rank)
    with pytest.raises(SettingsError, match="means"):
        TransportOperator(np.eye(2), np.zeros(2), "identity").truncated(1)


def test_a_saved_operator_comes_back_bit_for_bit(operator, tmp_path):
    operator.save(tmp_path / "a")
    operator.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = load_operator(tmp_path / "a")
    for name, value in vars(operator).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(loaded, name))
        else:
            assert value == getattr(loaded, name)
    bare = TransportOperator(np.eye(2), np.zeros(2), "identity")
    bare.save(tmp_path / "c")
    assert load_operator(tmp_path / "c").x_mean is None


def test_a_truncated_altered_or_foreign_file_is_refused_in_one_line(operator, tmp_path):
    path = tmp_path / "operator.safetensors"
    operator.save(path)
    whole = path.read_bytes()
    altered = bytearray(whole)
    altered[-3] ^= 1
    for content in (whole[:-8], whole[:20], b"", b"\x00" * 100, bytes(altered)):
        path.write_bytes(content)
        with pytest.raises(DamagedFileError) as caught:
            load_operator(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    Moments([(0, 1)]).update({0: np.ones((2, 2)), 1: np.ones((2, 2))}, fold=0).save(path)
    with pytest.raises(DamagedFileError, match="does not contain an operator"):
        load_operator(path)
    with pytest.raises(InputError, match="no operator file"):
        load_operator(tmp_path / "nowhere")


def test_an_operator_refuses_another_model(operator):
    operator.check_model("abc")
    for other in ("abd", None):
        with pytest.raises(MismatchError, match="tiny"):
            operator.check_model(other)


def following(operator: TransportOperator, **changes) -> TransportOperator:
    rng = np.random.default_rng(2)
    fields = {"source_layer": 5, "target_layer": 9, "rank": 4, "weights_hash": "abc", "y_mean": np.ones(4)} | changes
    return TransportOperator(rng.standard_normal((4, 5)), rng.standard_normal(4), **{"method": "ridge"} | fields)


def test_a_composed_operator_is_one_after_the_other(operator):
    second = following(operator)
    x = np.random.default_rng(1).standard_normal((11, 7))
    both = operator.composed_with(second)
    assert np.allclose(both(x), second(operator(x)))
    assert (both.source_layer, both.target_layer, both.rank, both.method) == (3, 9, 4, "ridge")
    assert (both.model, both.revision, both.weights_hash, both.alpha) == ("tiny", "main", "abc", None)
    assert np.array_equal(both.x_mean, operator.x_mean)
    assert np.array_equal(both.y_mean, second.y_mean)
    assert operator.composed_with(following(operator, method="mean")).method == "composed"
    identity = TransportOperator(np.eye(7), np.zeros(7), "identity")
    assert identity.composed_with(identity).rank is None


def test_operators_that_do_not_meet_are_not_composed(operator):
    with pytest.raises(MismatchError, match="cannot compose operators 3 -> 5 and 6 -> 9"):
        operator.composed_with(following(operator, source_layer=6))
    with pytest.raises(MismatchError, match="widths 5 and 7"):
        operator.composed_with(operator)
    with pytest.raises(MismatchError, match="another model"):
        operator.composed_with(following(operator, weights_hash="abd"))


def test_an_operator_refuses_another_pair_of_layers(operator):
    operator.check_pair(3, 5)
    for other in ((3, 7), (4, 5), (5, 3)):
        with pytest.raises(MismatchError, match=f"operator of 3 -> 5 used for {other[0]} -> {other[1]}"):
            operator.check_pair(*other)


def test_an_operator_cannot_be_changed(operator):
    with pytest.raises(FrozenInstanceError):
        operator.alpha = 3.0
