"""Tokens are shown so that different ones look different, and windows as the text that they are."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from ato.text.token_texts import TokenTexts, token_text, whole_characters, whole_tokens
from tests.tiny_models import byte_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


def with_byte_fallback():
    """As of Llama 2 and Gemma: bytes of rare characters are tokens ``<0xE6>``."""
    vocabulary = {"<unk>": 0, "a": 1, "▁b": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    inner = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


def text_of(tokens: list[str]) -> str:
    return "".join(text for text, _ in whole_characters(tokens))


def test_all_tokens_of_a_vocabulary_look_different(tokenizer):
    texts = TokenTexts(tokenizer).of(np.arange(3, 259))
    assert len(set(texts)) == 256
    assert not any("\ufffd" in text for text in texts)
    assert texts[:3] == ["!", '"', "#"]
    assert "<0xE6>" in texts


def test_all_bytes_of_a_vocabulary_with_byte_fallback_look_different():
    tokenizer = with_byte_fallback()
    texts = TokenTexts(tokenizer).of(np.arange(1, 259))
    assert len(set(texts)) == 257  # the letter a is also a byte
    assert texts[2 + 0xE6] == "<0xE6>"
    assert not any("\ufffd" in text for text in texts)


@pytest.mark.parametrize("text", ["日本語", "a 日本 b", "naïve café", "🙂 ok", "plain", ""])
def test_a_window_is_the_text_that_it_is_of(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = TokenTexts(tokenizer).of(np.array(ids))
    assert text_of(tokens) == text
    pieces = whole_characters(tokens)
    assert [i for _, own in pieces for i in own] == list(range(len(tokens)))
    assert [piece for piece, _ in pieces] == list(text)


def test_what_the_edges_of_a_window_cut_off_is_shown_as_bytes(tokenizer):
    ids = tokenizer("日本語", add_special_tokens=False)["input_ids"]
    tokens = TokenTexts(tokenizer).of(np.array(ids[1:-1]))
    assert text_of(tokens) == "<0x97><0xA5>本<0xE8><0xAA>"


def test_a_token_of_a_whole_character_and_a_part_shows_both(tokenizer):
    vocabulary = {"<unk>": 0, "aæ": 1, "Ĺ¬èª": 2, "ł": 3, "ï¿½": 4}
    inner = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    inner.decoder = decoders.ByteLevel()
    mixed = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    assert token_text(mixed, 1) == "a<0xE6>"
    assert token_text(mixed, 4) == "\ufffd"  # the character itself
    assert text_of(["a<0xE6>", "<0x97><0xA5>b<0xC3>", "<0xA9>"]) == "a日bé"


@pytest.mark.slow
def test_the_embedded_model_tells_every_token_apart_that_decodes_to_nothing_whole():
    from ato.models import load_model

    tokenizer = load_model("smollm2-135m", device="cpu").tokenizer
    broken = [i for i in range(len(tokenizer)) if "\ufffd" in tokenizer.decode([i])]
    texts = {token_text(tokenizer, i) for i in broken}
    assert len(broken) > 200
    assert len(texts) == len(broken)
    ids = tokenizer("日本語", add_special_tokens=False)["input_ids"]
    assert text_of([token_text(tokenizer, i) for i in ids]) == "日本語"


def test_a_sequence_shows_characters_whole_at_their_first_token_and_nothing_at_the_others(tokenizer):
    text = "a 日本語 🙂 naïve"
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"])
    whole = whole_tokens(TokenTexts(tokenizer).of(ids))
    firsts = np.cumsum([0, *(len(character.encode()) for character in text)])[:-1]  # a token a byte
    expected = dict(zip(firsts.tolist(), text, strict=True))
    assert whole == tuple(expected.get(place, "") for place in range(len(ids)))
