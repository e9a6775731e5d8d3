"""Every module of the package is an architecture, and every list of architectures is the registry."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from ato.errors import SAEError
from ato.saes import ARCHITECTURES, architectures
from ato.saes.architectures import find_architecture
from ato.saes.architectures.architecture import register
from ato.saes.architectures.topk import TopK
from ato.saes.training.methods import TRAINABLE
from tasks.settings import SAESettings


def test_a_module_of_the_package_is_an_architecture_of_its_name():
    modules = {file.stem for file in Path(architectures.__file__).parent.glob("*.py")}
    assert set(ARCHITECTURES) == modules - {"__init__", "architecture"}
    assert all(kind.name == name for name, kind in ARCHITECTURES.items())


def test_settings_offer_the_architectures_that_can_be_trained():
    field = TypeAdapter(SAESettings).json_schema()["properties"]["architecture"]
    assert field["enum"] == list(TRAINABLE)
    assert {method.architecture for method in TRAINABLE.values()} <= set(ARCHITECTURES)


def test_an_unknown_architecture_is_refused_with_those_that_there_are():
    with pytest.raises(SAEError, match=", ".join(ARCHITECTURES)):
        find_architecture("temporal")
    with pytest.raises(SAEError, match="None is not supported"):
        find_architecture(None)


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="topk is registered twice"):
        register(TopK)
