"""Files of moments are what they were when layers and keys were all numbers: names, metadata and bytes."""

import json

import numpy as np
import pytest
from safetensors import safe_open

from ato.errors import DamagedFileError, LayerError
from ato.io.tensor_files import write_tensors
from ato.moments import Moments
from ato.moments.files import file_number, layer_of
from ato.residuals.position_policies import permuted_key, source_key

PREVIOUS, ATTENDED = source_key(1, 4, "previous"), source_key(1, 4, "attended:2")
NUMBERS = {
    1: 1,
    PREVIOUS: -2,
    ATTENDED: -327682,
    source_key(0, 6, "shuffled"): -458753,
    permuted_key(1): -1099511627777,
    permuted_key(PREVIOUS): -1099511627774,
    permuted_key(ATTENDED): -1099511300094,
}
WRITTEN_BEFORE = {
    "kind": "moments",
    "pairs": [
        [1, 4],
        [-2, 4],
        [-327682, 4],
        [-458753, 6],
        [-1099511627777, 4],
        [-1099511627774, 4],
        [-1099511300094, 4],
    ],
    "n_folds": 2,
    "cuts": [0.25],
    "squares_only": [6],
    "precision": "auto",
    "n": [4, 6, 10, 10, 10],
    "epsilon": 2.220446049250313e-16,
    "sha256": "6cd342e405b4275e8d2a372a2e540ec3bfa3e829e7b89927b16e4634b1a547bd",
}
"""Metadata of ``gathered`` as the code wrote them that had numbers for keys; sha256 is over names, shapes and numbers."""


def gathered() -> Moments:
    """Of rows that are small integers, whose sums are exact in any order."""
    pairs = [(key, 6 if number == -458753 else 4) for key, number in NUMBERS.items()]
    layers = list(dict.fromkeys([1, 4, 6, *NUMBERS]))
    pilot = {layer: np.full(2, i) for i, layer in enumerate(layers)}
    rows = {layer: (np.arange(80) * (i + 3) % 11).reshape(40, 2).astype(np.float32) for i, layer in enumerate(layers)}
    moments = Moments(pairs, n_folds=2, cuts=[0.25], pilot_mean=pilot, squares_only=[6])
    return moments.update(rows, np.arange(40) % 4, document=np.arange(40) // 4)


def test_what_is_written_is_what_was_written_before_keys_had_a_type(tmp_path):
    gathered().save(tmp_path / "moments")
    with safe_open(str(tmp_path / "moments"), framework="numpy") as file:
        assert json.loads(file.metadata()["ato"]) == WRITTEN_BEFORE
        assert {"pilot/-2", "sum/-327682/0", "gram/-1099511627777/4", "cross/-458753/6/3"} < set(file.keys())


def test_a_file_written_before_is_read_with_typed_keys(tmp_path):
    path, attended = tmp_path / "moments", -(1 + 1 + (1 << 16) * (1 + 4))
    arrays = {}
    for number, mean in ((4, 2.0), (attended, 3.0)):
        arrays |= {f"pilot/{number}": np.array([mean])}
        arrays |= {f"sum/{number}/0": np.array([5.0]), f"gram/{number}/0": np.array([[7.0]])}
    arrays[f"cross/{attended}/4/0"] = np.array([[6.0]])
    metadata = {
        "pairs": [[attended, 4]],
        "n_folds": 1,
        "cuts": [],
        "precision": "auto",
        "n": [5, 0, 0],
        "epsilon": 1e-16,
    }
    write_tensors(path, "moments", arrays, metadata)
    for moments in (Moments.load(path), Moments.load(path, [(ATTENDED, 4)])):
        assert moments.pairs == ((ATTENDED, 4),)
        found = moments.summary(ATTENDED, 4, ["train-0"])
        assert (found.n, found.mean_x, found.mean_y) == (5, [4.0], [3.0])  # pilot + 5/5
        assert (found.sxx, found.sxy, found.syy) == (7 - 25 / 5, 6 - 25 / 5, 7 - 25 / 5)
        with pytest.raises(LayerError, match="1 offset -> 4: choose from 1 attended by 4 -> 4"):
            moments.summary(PREVIOUS, 4, ["train-0"])


def test_numbers_and_keys_stand_for_each_other():
    assert {key: file_number(key) for key in NUMBERS} == NUMBERS
    assert {layer_of(number): number for number in NUMBERS.values()} == NUMBERS
    plain = [0, 1, 70, 2**16 - 2]
    keys = [source_key(source, target, p) for source in plain for target in plain for p in ("previous", "attended")]
    everything = [*plain, *keys, *map(permuted_key, [*plain, *keys])]
    assert all(layer_of(file_number(key)) == key for key in everything)
    assert len({file_number(key) for key in everything}) == len(set(everything))
    assert file_number(np.int64(3)) == 3
    assert type(file_number(np.int64(3))) is int  # JSON knows no other


@pytest.mark.parametrize(
    "damage", [{"n": [1, 2]}, {"n": "many"}, {"n_folds": "two"}, {"pairs": [[1]]}, {"pairs": None}, {"cuts": None}]
)
def test_metadata_that_do_not_fit_are_refused(tmp_path, damage):
    metadata = {"pairs": [[1, 4]], "n_folds": 1, "cuts": [], "precision": "auto", "n": [5, 0, 0], "epsilon": 1e-16}
    write_tensors(tmp_path / "moments", "moments", {"pilot/1": np.zeros(1)}, metadata | damage)
    with pytest.raises(DamagedFileError, match="incomplete moments"):
        Moments.load(tmp_path / "moments")
    write_tensors(tmp_path / "moments", "moments", {"other/1/0": np.zeros(1)}, metadata)
    with pytest.raises(DamagedFileError, match="incomplete moments"):
        Moments.load(tmp_path / "moments")
