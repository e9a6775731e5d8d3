"""Prompts about entities as token ids, with the tokens of the name and other places found from character offsets.

The characters of the name are known because the prompt is put together from its template; its tokens are those whose offsets,
stripped of white space, overlap them. Nothing is searched in decoded text, and nothing is tokenised twice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ato.entities.catalog import Entity
from ato.entities.names import FAMILIES
from ato.entities.questions import TEMPLATES
from ato.errors import ModelError, SettingsError

_PIECES = re.compile(r"\{entity\}|\[\[(\w+)\]\]")
_CONTENT = "CONTENT-OF-THE-QUESTION"


@dataclass(frozen=True)
class Prompt:
    """Token ids of one prompt with the places that are read or edited."""

    token_ids: np.ndarray
    """[n] int32."""
    span: tuple[int, int]
    """First token of the name and the one behind its last, of its last mention."""
    positions: Mapping[str, int]
    """entity_first, entity_last, question_end (last token of the prompt), in chats last_eoi (last token in front of the
    answer), and marked places."""
    text: str
    """What was tokenised; a BOS token that was put in front is not in it."""
    mentions: tuple[tuple[int, int], ...]
    """Spans of every mention of the name, in order."""


@dataclass(frozen=True)
class Dropped:
    """Why there is no prompt for an entity."""

    reason: str


@dataclass
class _Text:
    """A template filled with a name: where each mention (start, end) and marked place is, in characters."""

    text: str = ""
    mentions: list[tuple[int, int]] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)


class PromptMaker:
    """Makes prompts of one family for one tokenizer.

    Args:
        tokenizer: a fast tokenizer of transformers.
        family: one of ``FAMILIES``; chats have the user's turn alone, without a system message of ours.
        max_tokens: longer prompts are dropped; None for no limit.
        add_bos: whether a prompt begins with the BOS token; None: plain text does where the tokenizer itself adds it, chats
            as their template has it.

    Raises:
        SettingsError: unknown family, a chat family with a base model, or add_bos where there is no BOS token.
        ModelError: the tokenizer gives no offsets, or its chat template does not keep the question as it is.
    """

    def __init__(self, tokenizer: Any, family: str, max_tokens: int | None = None, add_bos: bool | None = None):
        if family not in FAMILIES:
            raise SettingsError(f"unknown family of prompts {family!r}", cure=f"use {', '.join(FAMILIES)}")
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError("the tokenizer gives no character offsets", cure="use a model with a fast tokenizer")
        if family != "continuation" and not getattr(tokenizer, "chat_template", None):
            raise SettingsError(
                f"a base model cannot be asked in {family}: its tokenizer has no chat template",
                cure="use family continuation or a chat model",
            )
        if add_bos and tokenizer.bos_token_id is None:
            raise SettingsError("the tokenizer has no BOS token", where="add_bos", cure="leave add_bos out")
        self.tokenizer, self.family, self.max_tokens, self.add_bos = tokenizer, family, max_tokens, add_bos
        self._special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        self._text_bos = self._adds_bos() if add_bos is None else add_bos
        self._frame, self._frame_bos = self._chat_frame() if family != "continuation" else (("", ""), 0)

    def question(self, entity: Entity, template_name: str) -> Prompt | Dropped:
        """The question of a template about an entity, in this family.

        Raises:
            SettingsError: no such template, or one of another type.
        """
        template = TEMPLATES.get(template_name)
        if template is None:
            raise SettingsError(f"unknown template {template_name!r}", cure=f"use {', '.join(TEMPLATES)}")
        if template.entity_type != entity.entity_type:
            raise SettingsError(f"template {template_name} does not ask about {entity.entity_type} {entity.name!r}")
        if self.family == "continuation":
            return self._plain(_filled(f"{template.question} {template.continuation}".rstrip(), entity.name))
        prefill = template.prefill if self.family == "chat_prefill" else ""
        return self._chat(_filled(template.question, entity.name), prefill)

    def name(self, entity: Entity) -> Prompt | Dropped:
        """``The {type} '{entity}'`` as plain text, in every family."""
        return self._plain(_filled(f"The {entity.entity_type.replace('_', ' ')} '{{entity}}'", entity.name))

    def custom(self, text: str, entity: Entity, prefill: str = "") -> Prompt | Dropped:
        """A text of one's own, as the user's turn in chats: ``{entity}`` stands for the name, and ``[[place]]`` marks the
        token in front of it as position ``place`` and is left out.

        Raises:
            SettingsError: the text has no ``{entity}``, a place is marked twice, at the beginning, or under a taken name,
                or there is a prefill without a chat.
        """
        if "{entity}" not in text:
            raise SettingsError("the text has no {entity}", where=text)
        if prefill and self.family == "continuation":
            raise SettingsError("plain text has no prefill", where=prefill, cure="write it at the end of the text")
        filled = _filled(text, entity.name)
        return self._plain(filled) if self.family == "continuation" else self._chat(filled, prefill)

    def _plain(self, filled: _Text) -> Prompt | Dropped:
        return self._prompt(filled, None, self._text_bos, 1)

    def _chat(self, filled: _Text, prefill: str) -> Prompt | Dropped:
        before, after = self._frame
        text = before + filled.text + after
        if self._rendered(filled.text) != text:
            raise ModelError(
                "the chat template changes the question", where=filled.text, cure="begin and end it without spaces"
            )
        moved = _Text(
            text + prefill,
            [(start + len(before), end + len(before)) for start, end in filled.mentions],
            {name: at + len(before) for name, at in filled.marks.items()},
        )
        return self._prompt(moved, len(text), bool(self.add_bos), max(1, self._frame_bos))

    def _prompt(self, filled: _Text, answer_at: int | None, wants_bos: bool, most_bos: int) -> Prompt | Dropped:
        encoded = self.tokenizer(filled.text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = list(encoded["input_ids"]), [_stripped(filled.text, *pair) for pair in encoded["offset_mapping"]]
        if wants_bos and ids[:1] != [self.tokenizer.bos_token_id]:
            ids, offsets = [self.tokenizer.bos_token_id, *ids], [(0, 0), *offsets]
        mentions = [_tokens_of(offsets, _stripped(filled.text, *mention)) for mention in filled.mentions]
        spans = tuple(mention for mention in mentions if mention is not None)
        if len(spans) < len(mentions):
            return Dropped("the name has no token")
        if any(self._special & set(ids[start:end]) for start, end in spans):
            return Dropped("the name holds a special token")
        self._check_bos(ids, most_bos, filled.text)
        if self.max_tokens is not None and len(ids) > self.max_tokens:
            return Dropped(f"the prompt has more than {self.max_tokens} tokens")
        first, behind = spans[-1]
        positions = {"entity_first": first, "entity_last": behind - 1, "question_end": len(ids) - 1}
        if answer_at is not None:
            raw = [*((0, 0) for _ in range(len(ids) - len(encoded["input_ids"]))), *encoded["offset_mapping"]]
            positions["last_eoi"] = max(i for i, (_, end) in enumerate(raw) if end <= answer_at)
        positions |= _marked(filled, offsets, positions)
        return Prompt(np.array(ids, dtype=np.int32), spans[-1], positions, filled.text, spans)

    def _check_bos(self, ids: list[int], most: int, text: str) -> None:
        bos = self.tokenizer.bos_token_id
        if bos is None:
            return
        if ids.count(bos) > most or ids[:2] == [bos, bos]:
            raise ModelError(
                f"a prompt has {ids.count(bos)} BOS tokens where {most} may be",
                where=text,
                cure="leave the BOS token out of the text, or set add_bos to false",
            )

    def _adds_bos(self) -> bool:
        bos = self.tokenizer.bos_token_id
        return bos is not None and list(self.tokenizer("a")["input_ids"])[:1] == [bos]

    def _chat_frame(self) -> tuple[tuple[str, str], int]:
        """What the chat template writes before and behind a question, and its BOS tokens: where BOS also begins each turn,
        there is one for each turn."""
        before, found, after = self._rendered(_CONTENT).partition(_CONTENT)
        if not found or _CONTENT in after:
            raise ModelError("the chat template does not hold the question exactly once")
        ids = list(self.tokenizer(before + _CONTENT + after, add_special_tokens=False)["input_ids"])
        return (before, after), ids.count(self.tokenizer.bos_token_id)

    def _rendered(self, question: str) -> str:
        turns = [{"role": "user", "content": question}]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def _filled(form: str, name: str) -> _Text:
    """The form with the name in it; what looks like a mark inside a name is left alone."""
    filled, at = _Text(), 0
    for match in _PIECES.finditer(form):
        filled.text += form[at : match.start()]
        at = match.end()
        if match[1] is None:
            start = len(filled.text)
            filled.text += name
            filled.mentions.append((start, len(filled.text)))
        elif match[1] in filled.marks:
            raise SettingsError(f"place {match[1]} is marked twice", where=form)
        else:
            filled.marks[match[1]] = len(filled.text)
    filled.text += form[at:]
    return filled


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """The range of characters without white space at its ends: some tokenizers count the space before a word to it."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _tokens_of(offsets: list[tuple[int, int]], characters: tuple[int, int]) -> tuple[int, int] | None:
    """First token that overlaps the characters and the one behind the last; a space between words belongs to the name."""
    start, end = characters
    inside = [i for i, (first, behind) in enumerate(offsets) if first < behind and first < end and behind > start]
    return (inside[0], inside[-1] + 1) if inside else None


def _marked(filled: _Text, offsets: list[tuple[int, int]], taken: Mapping[str, int]) -> dict[str, int]:
    marked = {}
    for name, at in filled.marks.items():
        if name in taken:
            raise SettingsError(f"a place cannot be named {name}: that is a position of every prompt")
        before = [i for i, (first, behind) in enumerate(offsets) if first < behind and first < at]
        if not before:
            raise SettingsError(f"place {name} has no token in front of it", where=filled.text)
        marked[name] = before[-1]
    return marked
