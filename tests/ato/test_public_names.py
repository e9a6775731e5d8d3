"""The public names of the science: listed, importable, documented, and the import itself costs nothing."""

import subprocess
import sys

import pytest

import ato


@pytest.mark.parametrize("name", ato.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    documentation = getattr(ato, name).__doc__
    assert documentation
    assert len(documentation.split()) > 4


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = ato.nonesuch


def test_importing_the_package_imports_nothing_heavy():
    code = "import ato, sys; print(sorted({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
