"""Hashes are SHA-256 of the bytes on the disk now."""

import hashlib
import os

import pytest

from ato.io import hashing
from ato.io.hashing import digest_of, file_sha256


def test_it_is_the_sha256_of_the_bytes(tmp_path):
    for content in (b"", b"abc", bytes(range(256)) * 5000):
        (tmp_path / "file").write_bytes(content)
        assert (
            file_sha256(tmp_path / "file") == file_sha256(str(tmp_path / "file")) == hashlib.sha256(content).hexdigest()
        )


def test_a_file_is_read_again_only_when_its_size_or_time_changed(tmp_path, monkeypatch):
    read, digest = [], hashlib.file_digest
    monkeypatch.setattr(hashing.hashlib, "file_digest", lambda file, name: read.append(file.name) or digest(file, name))
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    os.utime(path, ns=(1, 1))
    first = file_sha256(path)
    assert file_sha256(tmp_path / "." / "file") == first
    assert len(read) == 1
    path.write_bytes(b"abd")
    os.utime(path, ns=(2, 2))
    assert file_sha256(path) == hashlib.sha256(b"abd").hexdigest()
    assert len(read) == 2


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "nowhere")


def test_a_digest_of_lines_does_not_depend_on_their_order_but_on_each_of_them():
    assert digest_of(["b", "a", "c"]) == digest_of(iter("cab")) == hashlib.sha256(b"a\nb\nc").hexdigest()
    assert len({digest_of([]), digest_of(["a"]), digest_of(["a", "a"]), digest_of(["ab"]), digest_of(["a", "b"])}) == 5
