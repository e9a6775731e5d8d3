"""Texts of tokens without transformers are those with it."""

import numpy as np
import pytest

from ato.errors import DamagedFileError, UnavailableError
from ato.models.files import ModelFiles, locate
from ato.models.tokenizer import load_tokenizer
from ato.models.vocabulary import read_vocabulary
from ato.text.token_texts import TokenTexts, token_text
from tests.tiny_models import byte_tokenizer


def write_gguf(path, names, types, model="gpt2"):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("some.number", 7)
    writer.add_array("some.flags", [True, False])
    writer.add_tokenizer_model(model)
    writer.add_token_list(names)
    writer.add_token_types(types)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return ModelFiles("planted", path.parent, gguf=path.name)


def test_a_fast_tokenizers_file_gives_the_texts_of_transformers(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    read = read_vocabulary(ModelFiles("tiny", tmp_path))
    ids = np.arange(len(tokenizer))
    assert TokenTexts(read).of(ids) == TokenTexts(tokenizer).of(ids)
    assert read.special_ids == frozenset(tokenizer.all_special_ids)
    assert read.convert_ids_to_tokens(10**6) is None


def test_a_planted_gguf_header_is_read_bytes_and_added_tokens_included(tmp_path):
    files = write_gguf(tmp_path / "m.gguf", ["<|end|>", "Ġthe", "Ã", "©", "own ▁"], [3, 1, 1, 1, 4])
    read = read_vocabulary(files)
    assert TokenTexts(read).of(np.arange(5)) == ["<|end|>", " the", "<0xC3>", "<0xA9>", "own ▁"]
    assert read.decode([2, 3]) == "é"
    assert read.special_ids == {0}


def test_pieces_of_sentencepiece_have_spaces_and_bytes(tmp_path):
    files = write_gguf(tmp_path / "m.gguf", ["<s>", "▁the", "<0xC3>", "é"], [3, 1, 6, 1], model="llama")
    assert [token_text(read_vocabulary(files), token) for token in range(4)] == ["<s>", " the", "<0xC3>", "é"]


@pytest.mark.slow
def test_the_embedded_models_tokens_are_those_of_transformers():
    read, tokenizer = read_vocabulary(locate("smollm2-135m")), load_tokenizer("smollm2-135m")
    ids = np.arange(len(tokenizer))
    assert TokenTexts(read).of(ids) == TokenTexts(tokenizer).of(ids)
    assert set(tokenizer.all_special_ids) <= read.special_ids


def test_what_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(UnavailableError, match=r"no tokenizer\.json"):
        read_vocabulary(ModelFiles("tiny", tmp_path))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(DamagedFileError, match="vocabulary cannot be read"):
        read_vocabulary(ModelFiles("tiny", tmp_path))
    files = write_gguf(tmp_path / "m.gguf", ["a", "b"], [1, 1])
    whole = (tmp_path / "m.gguf").read_bytes()
    for n in (3, 40, len(whole) // 2):
        (tmp_path / "m.gguf").write_bytes(whole[:n])
        with pytest.raises(DamagedFileError, match="vocabulary cannot be read"):
            read_vocabulary(files)
