"""What is changed of transformers and gguf while a model loads is put back."""

import sys
import warnings
from types import SimpleNamespace

import pytest

from ato.models.transformers_patches import loading_options, parsed_once, quiet_transformers


@pytest.fixture
def gguf(monkeypatch):
    """A stand-in for the package, which counts how often it parses."""
    parsed = []

    def read(path):
        parsed.append(path)
        return object()

    module = SimpleNamespace(GGUFReader=read, get_tensor_name_map=lambda arch, n: object(), parsed=parsed)
    monkeypatch.setitem(sys.modules, "gguf", module)
    return module


def test_a_header_is_parsed_once_while_it_lasts_and_again_afterwards(gguf):
    reader = gguf.GGUFReader
    with parsed_once():
        assert gguf.GGUFReader("a") is gguf.GGUFReader("a")
        assert gguf.get_tensor_name_map("llama", 3) is gguf.get_tensor_name_map("llama", 3)
    assert gguf.parsed == ["a"]
    assert gguf.GGUFReader is reader
    with pytest.raises(ZeroDivisionError), parsed_once():
        _ = 1 / 0
    assert gguf.GGUFReader is reader


def test_transformers_is_quiet_while_it_lasts_and_as_talkative_as_before_afterwards(capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with quiet_transformers():
        warnings.warn("advice", stacklevel=1)
        print("a bar", file=sys.stderr)
        assert not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr().err == ""


def test_weights_come_from_safe_files_or_unpacked_from_a_gguf_file():
    assert loading_options(None) == {"use_safetensors": True}
    assert loading_options("model.gguf")["gguf_file"] == "model.gguf"
