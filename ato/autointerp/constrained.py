"""JSON that fits its schema, written with a language model: it makes the choices, and everything else is set.

1. Braces, names, commas are written as the schema has them.
2. A choice (boolean, ``enum``, small range of integers) is the one with the largest mean log-probability of its tokens
   behind the text so far; long choices are thus not at a disadvantage. Calibrated, the log-probability behind a prompt
   without content is subtracted first (contextual calibration; Zhao et al., 2021), and with it what the model prefers
   to say to anything.
3. A string is generated greedily, up to a quotation mark, a line's end or a limit.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ato.errors import InputError
from ato.models.generation import end_ids
from ato.models.kept_text import KeptText
from ato.models.language_model import LanguageModel

MOST_CHOICES = MOST_ITEMS = 256
STRING_TOKENS = 48
"""Longest string."""
_BEGINNINGS = 64
"""Likeliest tokens of which a string's first is chosen: most of them begin no empty string."""


@dataclass(frozen=True)
class WrittenPart:
    """A piece of a written text: what is set has probability 1."""

    text: str
    log_probability: float = 0.0
    """Of a choice: among the choices there were; of a string: of its tokens together."""
    choices: tuple[tuple[str, float], ...] = ()
    """All choices with their log-probabilities, the likeliest first."""
    n_tokens: int = 0


def write_json(
    model: LanguageModel,
    text: KeptText,
    schema: dict[str, Any],
    without_content: KeptText | None = None,
    *,
    string_tokens: int = STRING_TOKENS,
) -> list[WrittenPart]:
    """The parts of a JSON text that fits a schema, written behind a prompt.

    Args:
        model: that writes.
        text: the prompt; it grows by what is written.
        schema: of objects, arrays of fixed length, booleans, strings, ``enum``, ``const`` and ranges of integers.
        without_content: the prompt without its content, to calibrate choices with.
        string_tokens: most tokens of a string.

    Raises:
        InputError: the schema has something else.
        ModelError: the text becomes longer than the model's context.
    """
    check_schema(schema)
    writer = _Writer(model, [text, *([] if without_content is None else [without_content])], string_tokens)
    writer.write(schema)
    return writer.parts


def check_schema(schema: Any, path: str = "reply") -> None:
    """Raise InputError for a schema that cannot be filled."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if isinstance(schema, dict) and "const" in schema:
        return
    if isinstance(schema, dict) and _choices(schema):
        return
    if kind == "object" and isinstance(schema.get("properties"), dict):
        for name, of in schema["properties"].items():
            check_schema(of, f"{path}/{name}")
    elif kind == "array" and schema.get("minItems", 0) in range(MOST_ITEMS + 1) and "items" in schema:
        check_schema(schema["items"], f"{path}/items")
    elif kind != "string" or schema.get("maxLength", 1) < 1:
        cure = "use objects, arrays with minItems, booleans, strings, enum, const and small ranges of integers"
        raise InputError("the schema cannot be filled", where=path, cure=cure)


def _choices(schema: dict[str, Any]) -> list[Any]:
    """The values that there are to choose from; none for other schemas."""
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    if schema.get("type") == "boolean":
        return [True, False]
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema.get("type") == "integer" and isinstance(low, int) and isinstance(high, int):
        return list(range(low, high + 1)) if high - low < MOST_CHOICES else []
    return []


class _Writer:
    """Writes behind one text, and the same behind others; the first makes the choices."""

    def __init__(self, model: LanguageModel, texts: Sequence[KeptText], string_tokens: int):
        self._model, self._texts, self._string_tokens = model, texts, string_tokens
        self._ends = frozenset(end_ids(model)) | model.special_token_ids
        self._pending = ""
        self.parts: list[WrittenPart] = []

    def write(self, schema: dict[str, Any]) -> None:
        """A value."""
        if "const" in schema:
            self._set(json.dumps(schema["const"]))
        elif choices := _choices(schema):
            self._choose([json.dumps(choice, ensure_ascii=False) for choice in choices])
        elif schema["type"] == "object":
            for i, (name, of) in enumerate(schema["properties"].items()):
                self._set(("{" if i == 0 else ", ") + json.dumps(name, ensure_ascii=False) + ": ")
                self.write(of)
            self._set("}" if schema["properties"] else "{}")
        elif schema["type"] == "array":
            for i in range(schema.get("minItems", 0)):
                self._set("[" if i == 0 else ", ")
                self.write(schema["items"])
            self._set("]" if schema.get("minItems", 0) else "[]")
        else:
            self._string(schema.get("maxLength"))

    def _set(self, text: str) -> None:
        self._pending += text
        self.parts.append(WrittenPart(text))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._model.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _feed(self, ids: Sequence[int]) -> None:
        for text in self._texts:
            text.feed(ids)

    def _flush(self) -> str:
        """Run what is set; a space at its end is returned, since tokenizers join it to the word behind."""
        text = self._pending.rstrip(" ")
        space, self._pending = self._pending[len(text) :], ""
        self._feed(self._ids(text))
        return space

    def _choose(self, choices: list[str]) -> None:
        space = self._flush()
        ids = [self._ids(space + choice) for choice in choices]
        scores = self._texts[0].log_probabilities(ids)
        for text in self._texts[1:]:
            scores = scores - text.log_probabilities(ids)
        scores = scores / [len(own) for own in ids]
        log_probabilities = scores - np.logaddexp.reduce(scores)
        order = np.argsort(-log_probabilities, kind="stable")
        named = tuple((choices[i], float(log_probabilities[i])) for i in order)
        self.parts.append(WrittenPart(*named[0], named, len(ids[order[0]])))
        self._feed(ids[order[0]])

    def _string(self, longest: int | None) -> None:
        self._set('"')
        self._flush()  # no space at its end
        ids: list[int] = []
        text, log_probability = "", 0.0
        while len(ids) < self._string_tokens:
            following = self._texts[0].next_log_probabilities()
            token = self._first(following) if not ids else int(following.argmax())
            whole = self._model.tokenizer.decode([*ids, token])
            if token in self._ends:
                break
            if (end := _end(whole)) is not None or (longest is not None and len(whole) > longest):
                text = whole[: len(whole) if end is None else end][:longest]
                break
            ids.append(token)
            text, log_probability = whole, log_probability + float(following[token])
            self._feed([token])
        self._pending = text[len(self._model.tokenizer.decode(ids)) :]  # the half of a token before the end
        own = json.dumps(text.rstrip("\ufffd").strip(), ensure_ascii=False)[1:-1]
        self.parts.append(WrittenPart(own, log_probability, n_tokens=len(ids)))
        self._set('"')

    def _first(self, following: Any) -> int:
        """The likeliest token that begins a string with a visible character."""
        for token in following.topk(min(_BEGINNINGS, len(following))).indices.tolist():
            text = self._model.tokenizer.decode([token])
            if token not in self._ends and text[: _end(text)].strip():
                return token
        return int(following.argmax())


def _end(text: str) -> int | None:
    """Where a string ends: at a quotation mark or at a line's end."""
    return min((i for i in (text.find('"'), text.find("\n")) if i >= 0), default=None)
