"""docs/sae-files.md is the registry of formats."""

from pathlib import Path

import pytest

from ato.saes import formats
from ato.saes.formats import FORMATS
from ato.saes.formats.format import register
from ato.saes.formats.sparsify import Sparsify
from ato.saes.formats_page import formats_page


def test_the_page_of_formats_is_the_one_that_the_registry_gives():
    page = (Path(__file__).parents[4] / "docs" / "sae-files.md").read_text(encoding="utf-8")
    assert page == formats_page(), "run: python -m ato.saes.formats_page > docs/sae-files.md"


def test_every_module_of_the_package_holds_a_format():
    modules = {file.stem for file in Path(formats.__file__).parent.glob("*.py")} - {"__init__", "format", "reading"}
    assert {type(kind).__module__.rpartition(".")[2] for kind in FORMATS.values()} == modules


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="sparsify is registered twice"):
        register(Sparsify)
