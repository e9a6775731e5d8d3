"""Arrays and metadata come back bit for bit, and whatever was done to the file is noticed."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from ato.errors import DamagedFileError, InputError
from ato.io.tensor_files import read_tensors, write_tensors

ARRAYS = {
    "b/1": np.arange(6.0).reshape(2, 3),
    "a": np.array([np.nan, -0.0, np.inf], dtype=np.float32),
    "empty": np.zeros((0, 4), dtype=np.int64),
    "turned": np.arange(12, dtype=np.int32).reshape(3, 4).T,
}
METADATA = {"pairs": [[1, 2]], "name": "ä", "nothing": None, "epsilon": 2.220446049250313e-16}


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "file", "moments", ARRAYS, METADATA)
    return tmp_path / "file"


def test_what_was_written_is_read_bit_for_bit(path):
    arrays, metadata = read_tensors(path, "moments")
    assert {name: (x.dtype, x.shape, x.tobytes()) for name, x in arrays.items()} == {
        name: (x.dtype, x.shape, x.tobytes()) for name, x in ARRAYS.items()
    }
    assert metadata == {"kind": "moments", **METADATA}


def test_many_arrays_are_read_whole_though_the_file_is_opened_for_a_few_at_a_time(tmp_path):
    many = {f"{number}": np.full(2, number) for number in range(100)}
    write_tensors(tmp_path / "many", "moments", many, {})
    arrays, _ = read_tensors(tmp_path / "many", "moments")
    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: array.tolist() for name, array in many.items()
    }


def test_equal_contents_give_equal_bytes_in_whatever_order_they_come(path, tmp_path):
    again = dict(reversed(ARRAYS.items())), dict(reversed(METADATA.items()))
    write_tensors(tmp_path / "again", "moments", *again)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_some_arrays_are_kept_and_damage_to_the_others_is_noticed(path):
    arrays, _ = read_tensors(path, "moments", lambda name: name == "a")
    assert list(arrays) == ["a"]
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(np.float64(5).tobytes())] ^= 1  # the last number of b/1
    path.write_bytes(damaged)
    with pytest.raises(DamagedFileError, match="altered after it was written"):
        read_tensors(path, "moments", lambda name: name == "a")


def test_an_array_that_was_renamed_reshaped_or_left_out_is_noticed(path, tmp_path):
    header = {"ato": '{"kind": "moments", "sha256": "%s"}' % ("0" * 64)}
    save_file({"a": np.zeros(2)}, str(tmp_path / "other"), metadata=header)
    with pytest.raises(DamagedFileError, match="altered"):
        read_tensors(tmp_path / "other", "moments")


def test_files_of_another_kind_or_none_are_refused_by_their_name(path, tmp_path):
    with pytest.raises(DamagedFileError, match="does not contain an operator") as caught:
        read_tensors(path, "operator")
    assert str(path) in str(caught.value)
    save_file({"a": np.zeros(2)}, str(tmp_path / "foreign"))
    with pytest.raises(DamagedFileError, match="does not contain a moments"):
        read_tensors(tmp_path / "foreign", "moments")
    for content in (b"", b"not a tensor file", path.read_bytes()[:100]):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(DamagedFileError, match="not a readable moments"):
            read_tensors(tmp_path / "broken", "moments")
    with pytest.raises(InputError, match="no operator file"):
        read_tensors(tmp_path / "nowhere", "operator")
