"""Messages are found in the text of a conversation whatever they say, and tokens are those of whoever said them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.errors import CorpusError
from ato.text.chat_regions import TEMPLATE, message_spans, token_regions


def turns(messages):
    """Every turn is marked, its content kept as it is."""
    return "".join(f"<|{one['role']}|>{one['content']}<|end|>" for one in messages)


def trimmed(messages):
    """A system prompt of its own, contents without white space at their ends, and no mark behind the last one."""
    return "Be kind.\n" + "\n".join(f"{one['role']}: {one['content'].strip()}" for one in messages)


def thoughtless(messages):
    """What stands before a mark within a message is left out."""
    return turns([one | {"content": one["content"].rpartition("</think>")[2]} for one in messages])


def upper(messages):
    return turns([one | {"content": one["content"].upper()} for one in messages])


ROLES = st.sampled_from(["user", "assistant", "system"])
CONTENTS = st.text(st.sampled_from("aus er:<|>\n"), max_size=12) | st.sampled_from(
    ["user", "<|user|>", "user: a\nuser"]
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": ROLES, "content": CONTENTS}), min_size=1, max_size=5)


@pytest.mark.parametrize("render", [turns, trimmed])
@given(messages=MESSAGES)
def test_spans_are_what_was_said_by_whom_even_where_it_looks_like_the_template(render, messages):
    text = render(messages)
    spans = message_spans(render, messages, text)
    if spans is None:
        assert render is trimmed, "every turn is told from what is around it"
        return
    said = [one for one in messages if one["content"].strip()]
    assert [role for _, _, role in spans] == [one["role"] for one in said]
    assert [text[start:end].strip() for start, end, _ in spans] == [one["content"].strip() for one in said]
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_messages_that_a_template_changes_have_no_regions_and_others_have_theirs():
    thought = [{"role": "assistant", "content": "hm</think>yes"}]
    assert message_spans(thoughtless, thought, thoughtless(thought)) is None
    assert message_spans(upper, [{"role": "user", "content": "a"}], "<|user|>A<|end|>") is None
    plain = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]
    text = "<|user|>a<|end|><|assistant|>None<|end|>"
    assert message_spans(turns, plain, text) == [(8, 9, "user")]


def test_a_template_that_refuses_marks_gives_none():
    def refuse(messages):
        raise CorpusError("no")

    assert message_spans(refuse, [{"role": "user", "content": "a"}], "a") is None


def test_a_token_is_of_the_region_of_its_last_character():
    text = "<u> hi<a>yes"
    spans = [(4, 6, "user"), (9, 12, "assistant")]
    offsets = [(0, 3), (3, 6), (6, 10), (10, 10), (10, 12), (0, 0)]
    values = ("assistant", "user", TEMPLATE)
    assert len(text) == 12
    found = token_regions(offsets, spans, values)
    np.testing.assert_array_equal(found, [2, 1, 0, -1, 0, -1])
    assert len(token_regions([], [], values)) == 0
