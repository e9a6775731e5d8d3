"""Errors of the system about a file are told as what, where and cure."""

import errno
import os

import pytest

from ato.errors import DiskFullError, file_error


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOENT, "no such file or directory (x): name a file or folder that there is"),
        (errno.EROFS, "read-only file system (x): name a file or folder of your own, on a disk that can be written"),
        (errno.ENOSPC, "no space left on device (x): free some space, or name a folder on a larger disk"),
        (errno.ENAMETOOLONG, "file name too long (x): name another file or folder"),
    ],
)
def test_a_refused_file_is_what_where_and_cure(number, told):
    assert str(file_error(OSError(number, os.strerror(number), "x"))) == told
    assert str(file_error(OSError(number, os.strerror(number)), "x")) == told


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_that_whoever_meets_it(number):
    assert isinstance(file_error(OSError(number, os.strerror(number)), "x"), DiskFullError)
