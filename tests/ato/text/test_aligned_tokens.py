"""Tokens brought in line with a text are it when they are joined."""

import pytest

from ato.text.aligned_tokens import aligned


@pytest.mark.parametrize(
    ("tokens", "text", "expected"),
    [
        ([" a", "b", "\n"], " ab\n", [" a", "b", "\n"]),
        (["The", "Union", "."], "The Union.", ["The", " Union", "."]),
        (["é", "", "b"], "éb", ["é", "", "b"]),
        (["<0xA9>", "a", "<0xE6>"], "\ufffda\ufffd", ["\ufffd", "a", "\ufffd"]),
        (["a", "<0xE6>", "<0x97>"], "a\ufffd", ["a", "\ufffd", ""]),
        (["x"], "x ", ["x "]),
        (["<0x41>"], "<0x41>", ["<0x41>"]),
        ([], "", []),
    ],
)
def test_joined_they_are_the_text(tokens, text, expected):
    assert aligned(tokens, text) == expected
    assert "".join(expected) == text


def test_what_is_not_in_the_text_is_shown_as_it_is():
    assert aligned(["<bos>", "a"], "a") == ["<bos>", "a"]
