"""JSON in replies, and the probability of what was answered: not of what was likeliest (row 8 of the public faults)."""

import json
import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.autointerp.replies import (
    RejectedReply,
    ReplyToken,
    _scalars,
    answered_log_probability,
    choice_probabilities,
    read_reply,
)
from ato.autointerp.schemas import classification_schema, description_schema, intruder_schema, verdicts_schema


def tokens(*pieces: str | tuple) -> list[ReplyToken]:
    """Pieces with probability 1, or (piece, probability, {other: probability})."""
    found = []
    for piece in pieces:
        text, p, others = piece if isinstance(piece, tuple) else (piece, 1.0, {})
        named = tuple((other, math.log(value)) for other, value in others.items())
        found.append(ReplyToken(text.encode(), math.log(p), named))
    return found


def probabilities(pieces: list[ReplyToken], schema: dict) -> dict[str, float]:
    text = b"".join(piece.data for piece in pieces).decode()
    return choice_probabilities(text, read_reply(text, schema)[1], pieces, schema)


@pytest.mark.parametrize(
    "text",
    [
        '{"answers": [true, false]}',
        ' \n{"answers":[true,false]}\n',
        '```json\n{"answers": [true, false]}\n```',
        'Sure: {"answers": [true, false]} as you wish.',
        '<think>{a} or {"answers": [true]}?</think>{"answers": [true, false]}',
    ],
)
def test_json_is_found_in_fences_and_prose(text):
    value, body = read_reply(text, verdicts_schema(2))
    assert value == {"answers": [True, False]}
    assert json.loads(body) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the reply is empty"),
        ("I think so.", "no JSON in the reply"),
        ('{"answers": [tr', "invalid JSON"),
        ("{answers: yes}", "invalid JSON"),
        ("{" * 100_000, "invalid JSON"),
        ('{"answers": [true]}', "answers breaks the schema"),
        ('{"answers": [true, true, true]}', "answers breaks the schema"),
        ('{"answers": [true, "false"]}', "answers/1 breaks the schema"),
        ('{"answers": [1, 0]}', "answers/0 breaks the schema"),
        ('{"answers": [true, false], "more": 1}', "reply breaks the schema"),
        ("{}", "reply breaks the schema"),
    ],
)
def test_what_was_not_asked_for_is_rejected_with_the_reason(text, reason):
    with pytest.raises(RejectedReply, match=reason) as caught:
        read_reply(text, verdicts_schema(2))
    assert "\n" not in str(caught.value)


def test_the_answered_choice_is_read_where_another_was_likelier():
    reply = tokens('{"answers":', " [", ("true", 0.2, {"false": 0.7, "true": 0.2}), "]}")
    assert probabilities(reply, verdicts_schema(1)) == {"answers/0": pytest.approx(0.2 / 0.9)}


def test_an_answer_that_is_not_among_the_likeliest_has_its_own_probability():
    reply = tokens('{"answers": [', ("false", 0.01, {"true": 0.9, " true": 0.05}), "]}")
    assert probabilities(reply, verdicts_schema(1)) == {"answers/0": pytest.approx(0.95 / 0.96)}


@pytest.mark.parametrize(("answer", "expected"), [("true", 0.8), ("false", 0.2)])
def test_without_the_other_word_the_answers_own_probability_counts(answer, expected):
    reply = tokens('{"answers": [', (answer, 0.8, {}), "]}")
    assert probabilities(reply, verdicts_schema(1)) == {"answers/0": pytest.approx(expected)}


def test_each_of_several_answers_has_its_own_wherever_tokens_are_cut():
    reply = tokens(
        '{"answers"', ": [", ("tr", 0.9, {"f": 0.1}), "ue", (", false", 0.6, {", true": 0.2}), (",true", 0.5, {",f": 0.5}), "]}"
    )  # fmt: skip
    assert probabilities(reply, verdicts_schema(3)) == {
        "answers/0": pytest.approx(0.9),
        "answers/1": pytest.approx(0.25),
        "answers/2": pytest.approx(0.5),
    }


def test_choices_of_several_tokens_have_the_product_and_strings_none():
    schema = classification_schema({"category": ["domain", "reasoning"], "level": ["high"]})
    reply = tokens('{"category": "', ("dom", 0.5, {}), ("ain", 0.8, {}), '", "level": "', ("high", 0.7, {}), '"}')
    assert probabilities(reply, schema) == {"category": pytest.approx(0.4), "level": pytest.approx(0.7)}
    assert probabilities(tokens('{"intruder": ', ("3", 0.25, {}), "}"), intruder_schema(5)) == {"intruder": 0.25}
    assert probabilities(tokens('{"description": "', ("x", 0.1, {}), '"}'), description_schema()) == {}


def test_characters_that_are_split_over_tokens_shift_nothing():
    schema = classification_schema({"größe": ["ü{\\"]})
    text = 'Oh é: {"größe": "ü{\\\\"} !'
    data = text.encode()
    pieces = [ReplyToken(data[i : i + 1], 0.0) for i in range(len(data))]
    at = data.index("ü{".encode())
    pieces[at] = ReplyToken(data[at : at + 1], math.log(0.5))
    assert probabilities(pieces, schema) == {"größe": pytest.approx(0.5)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda of: st.lists(of, max_size=4) | st.dictionaries(st.text(), of, max_size=4),
    max_leaves=12,
)


def leaves(value: object, path: tuple = ()) -> Iterator[tuple[tuple, object]]:
    if isinstance(value, dict | list):
        for step, of in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(of, (*path, step))
    else:
        yield path, value


@given(value=JSON, indent=st.sampled_from([None, 0, 3]), escaped=st.booleans())
def test_every_value_is_found_where_it_stands(value, indent, escaped):
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    found = [(path, json.loads(text[first:last])) for path, first, last in _scalars(text, 0, ())]
    assert found == list(leaves(value))


@pytest.mark.parametrize("pieces", [[], [ReplyToken(b"something else", -1.0)]])
def test_tokens_that_are_not_the_text_say_nothing(pieces):
    text = '{"answers": [true]}'
    assert choice_probabilities(text, text, pieces, verdicts_schema(1)) == {}


@pytest.mark.parametrize(
    ("value", "probabilities", "expected"),
    [
        ({"answers": [True, False]}, {"answers/0": 0.8, "answers/1": 0.3}, 0.8 * 0.7),
        ({"intruder": 3}, {"intruder": 0.25}, 0.25),
        ({"answers": [False]}, {"answers/0": 1.0}, None),
        ({"description": "law"}, {}, None),
    ],
)
def test_a_reply_has_the_log_probability_of_its_answers_not_of_the_likelier_ones(value, probabilities, expected):
    found = answered_log_probability(value, probabilities)
    assert found == (None if expected is None else pytest.approx(math.log(expected)))
