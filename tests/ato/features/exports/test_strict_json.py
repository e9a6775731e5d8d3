"""JSON that every reader takes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.features.exports.strict_json import json_bytes, rounded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_what_json_holds_comes_back_but_for_halves_of_surrogate_pairs(content):
    whole = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    assert json.loads(json_bytes(content)) == whole


def test_numbers_that_are_not_finite_are_null_at_any_depth():
    content = {"a": float("nan"), "b": [float("inf"), {"c": (float("-inf"), 1.5)}]}
    assert json_bytes(content) == b'{"a":null,"b":[null,{"c":[null,1.5]}]}'


def test_arrays_and_scalars_of_numpy_are_lists_and_numbers():
    content = {
        "a": np.array([1.5, np.nan], dtype=np.float32),
        "b": np.int64(3),
        "c": np.float64(0.5),
        "d": np.bool_(True),
    }
    assert json_bytes(content) == b'{"a":[1.5,null],"b":3,"c":0.5,"d":true}'


@given(st.lists(st.floats(width=32), max_size=5))
def test_numbers_keep_the_digits_of_float32(values):
    for value, found in zip(values, rounded(values), strict=True):
        assert found == pytest.approx(value, rel=5e-6) if np.isfinite(value) else found is None
