"""Replies of language models: the JSON in their text, whether it fits its schema, and how probable its choices were."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

Path = tuple[str | int, ...]
_SPACE = re.compile(r"[\s,:]*")
_MOST_OBJECTS = 50
"""That are looked at in a reply."""
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class ReplyToken:
    """A token of a reply, as servers tell it with ``logprobs``."""

    data: bytes
    log_probability: float
    likeliest: tuple[tuple[str, float], ...] = ()
    """Tokens that were likely at its place, with their log-probabilities; it may be none of them."""


class RejectedReply(ValueError):
    """The reply is not what was asked for; the text says why, in a line."""


def read_reply(text: str, schema: dict[str, Any]) -> tuple[Any, str]:
    """The value that a reply holds, and the JSON text it stands in.

    It is the first object that fits the schema: a fence, prose and thoughts around it are passed over.

    Raises:
        RejectedReply: there is no JSON, it is cut off, or it breaks the schema.
    """
    import jsonschema

    validator, reason, start = jsonschema.Draft202012Validator(schema), "", text.find("{")
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            break
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            reason, end = reason or f"invalid JSON: {error}", start + 1
        else:
            if (wrong := next(validator.iter_errors(value), None)) is None:
                return value, text[start:end]
            where = "/".join(map(str, wrong.absolute_path)) or "reply"
            reason = reason or f"{where} breaks the schema: {' '.join(wrong.message.split())[:200]}"
        start = text.find("{", end)
    raise RejectedReply(reason or ("no JSON in the reply" if text.strip() else "the reply is empty"))


def choice_probabilities(
    text: str, body: str, tokens: Sequence[ReplyToken], schema: dict[str, Any]
) -> dict[str, float]:
    """Path of each choice of a reply (``answers/0``) -> probability: of true for booleans, else of the given choice.

    It is read from the answered tokens themselves, which need not be the likeliest at their places. A boolean's is
    P(true) / (P(true) + P(false)) over the tokens that begin either word, where the server names any of both; another
    choice's is the product of its tokens'. Empty where the tokens do not make up the text.

    Args:
        text: the whole reply.
        body: the JSON in it.
        tokens: of the whole reply.
        schema: of the reply; choices are its booleans and what has an ``enum``.
    """
    whole = b"".join(token.data for token in tokens)
    begin = whole.find(body.encode())
    if not tokens or begin < 0:
        return {}
    found: dict[str, float] = {}
    for path, first, last in _scalars(body, 0, ()):
        own = _schema_at(schema, path)
        if own.get("type") != "boolean" and "enum" not in own:
            continue
        start, stop = (begin + len(body[:i].encode()) for i in (first, last))
        if covering := _covering(tokens, start, stop):
            given = math.exp(min(0.0, sum(token.log_probability for token in covering)))
            if own.get("type") == "boolean":
                given = _truth(covering[0], given, body[first] == "t")
            found["/".join(map(str, path))] = given
    return found


def answered_log_probability(value: Any, probabilities: Mapping[str, float]) -> float | None:
    """Natural log of the probability of all choices as they were answered; None where it is not known.

    Args:
        value: of the reply.
        probabilities: of its choices, see ``choice_probabilities``.
    """
    total = 0.0
    for path, probability in probabilities.items():
        answer = value
        for step in path.split("/"):
            answer = answer[int(step) if isinstance(answer, list) else step]
        own = 1 - probability if answer is False else probability
        if own <= 0:
            return None
        total += math.log(own)
    return total if probabilities else None


def _covering(tokens: Sequence[ReplyToken], start: int, stop: int) -> list[ReplyToken]:
    """Tokens that overlap bytes start ... stop of the text that they make up."""
    at, found = 0, []
    for token in tokens:
        if at < stop and at + len(token.data) > start:
            found.append(token)
        at += len(token.data)
    return found


def _truth(token: ReplyToken, given: float, answer: bool) -> float:
    """P(true) by the first token of a boolean, whose answer has the probability given."""
    own = token.data.decode(errors="replace")
    named = dict(token.likeliest) | {own: token.log_probability}
    mass = {True: 0.0, False: 0.0}
    for text, log_probability in named.items():
        word = re.sub(r"[^a-z]", "", text.lower())
        if word and "true".startswith(word):
            mass[True] += math.exp(log_probability)
        elif word and "false".startswith(word):
            mass[False] += math.exp(log_probability)
    if not mass[not answer]:
        return given if answer else 1 - given
    return mass[True] / (mass[True] + mass[False])


def _schema_at(schema: dict[str, Any], path: Path) -> dict[str, Any]:
    for step in path:
        schema = schema.get("items", {}) if isinstance(step, int) else schema.get("properties", {}).get(step, {})
    return schema


def _scalars(text: str, at: int, path: Path) -> Iterator[tuple[Path, int, int]]:
    """Path, begin and end of each number, word and string in a sound JSON text that begins at a place."""
    yield from ((path, first, last) for path, first, last, scalar in _walk(text, at, path) if scalar)


def _walk(text: str, at: int, path: Path) -> Iterator[tuple[Path, int, int, bool]]:
    """Path, begin, end, whether a scalar, of all values, containers after what they hold: the last one is the whole."""
    if text[at] not in "{[":
        yield path, at, _DECODER.raw_decode(text, at)[1], True
        return
    first, closing, n = at, "}" if text[at] == "{" else "]", 0
    at = _after_space(text, at + 1)
    while text[at] != closing:
        key: str | int = n
        if closing == "}":
            key, at = scanstring(text, at + 1)
            at = _after_space(text, at)
        for found in _walk(text, at, (*path, key)):
            yield found
        at, n = _after_space(text, found[2]), n + 1
    yield path, first, at + 1, False


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
