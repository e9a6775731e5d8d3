"""Prompts of graphs: from text, a file or a folder, as token ids, with the token that is to be explained.

Unless a target is given, the last token of a text is the target, and the prompt is what stands in front of it. A newline at
the end of a file is no part of the text: editors put it there, and it would become the target.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ato.errors import CorpusError, InputError

_LEAST = 2
"""Tokens of a prompt, BOS included: with one, no position acts on another, and circuit-tracer's page shows nothing."""


@dataclass(frozen=True)
class GraphPrompt:
    """A prompt and the token that is to be explained."""

    name: str
    """Of the file, or of the line in it."""
    text: str
    """What was tokenised, the target included if it was its end; a BOS in front is not in it."""
    token_ids: tuple[int, ...]
    """BOS included, target excluded."""
    target_id: int
    stripped_newline: bool = False
    """Whether newlines at the end of a file were left out."""


@dataclass(frozen=True)
class PromptMaker:
    """Makes prompts for one tokenizer.

    Args:
        tokenizer: of transformers.
        context: tokens that the model takes.
        add_bos: whether a prompt begins with the BOS token; one that the text has itself is never doubled.
    """

    tokenizer: Any
    context: int
    add_bos: bool = False

    def __post_init__(self) -> None:
        if self.add_bos and self.tokenizer.bos_token_id is None:
            raise InputError("the tokenizer has no BOS token", cure="leave add_bos out")

    def prompt(self, text: str, target: str | None = None, name: str = "prompt") -> GraphPrompt:
        """A prompt of a text; special tokens in it are read as such.

        Args:
            text: the prompt, and its target at the end if none is given.
            target: text of one token.
            name: what errors and files call it.

        Raises:
            InputError: an empty prompt, one of a single token, one beyond the context, or a target that is not one token.
        """
        ids = self._with_bos(text, name)
        target_id = ids.pop() if target is None else self.target(target, name)
        return GraphPrompt(name, text, self._checked(ids, name, target is not None), target_id)

    def whole(self, text: str, name: str = "prompt") -> tuple[int, ...]:
        """Token ids of a text that is prompt to its end, BOS included; raises as ``prompt``."""
        return self._checked(self._with_bos(text, name), name, True)

    def _with_bos(self, text: str, name: str) -> list[int]:
        if not text.strip():
            raise InputError("the prompt is empty", where=name, cure="write some words")
        ids = self._tokens(text)
        if self.add_bos and ids[:1] != [self.tokenizer.bos_token_id]:
            ids = [self.tokenizer.bos_token_id, *ids]
        return ids

    def _checked(self, ids: list[int], name: str, is_whole: bool) -> tuple[int, ...]:
        if len(ids) < _LEAST:
            what = "in all" if is_whole else "before its target"
            raise InputError(
                f"the prompt has {len(ids)} token {what}" if len(ids) == 1 else f"the prompt has no token {what}",
                where=name,
                cure="write a longer prompt",
            )
        if len(ids) > self.context:
            raise InputError(
                f"the prompt has {len(ids)} tokens, the model takes {self.context}", where=name, cure="shorten it"
            )
        return tuple(ids)

    def target(self, text: str, name: str = "target") -> int:
        """The id of a text that is one token.

        Raises:
            InputError: it is none, or several; the message names the nearest that is one.
        """
        ids = self._tokens(text)
        if self._is_one(ids):
            return ids[0]
        if not ids:
            raise InputError("the target is empty", where=name, cure="give the text of a token, such as ' Paris'")
        what = f"is {len(ids)} tokens, not one" if len(ids) > 1 else "is no token of this tokenizer"
        raise InputError(f"target {text!r} {what}", where=name, cure=f"the nearest is {self._nearest(text, ids)!r}")

    def _is_one(self, ids: list[int]) -> bool:
        return len(ids) == 1 and ids[0] != self.tokenizer.unk_token_id

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _nearest(self, text: str, ids: list[int]) -> str:
        """The same word with or without a space or a capital if that is one token, else the first token of the text."""
        word = text.strip()
        cased = [word, word.capitalize(), word.lower(), word.upper()]
        for variant in [" " + word, *cased, *(f" {other}" for other in cased)]:
            if variant != text and self._is_one(self._tokens(variant)):
                return variant
        start: str = self.tokenizer.decode(ids[:1])
        return start


def read_prompts(path: Path | str, maker: PromptMaker, target: str | None = None) -> Iterator[GraphPrompt]:
    """The prompts of a file, or of a folder's .txt files by name.

    A .txt file is one prompt, called like the file. A .jsonl file has one a line, ``{"prompt": ..., "target": ...,
    "name": ...}``, target and name optional.

    Args:
        path: file or folder.
        maker: makes them; each is made when it is reached, so that a bad one does not hinder those before it.
        target: of prompts that have none of their own; None for their last token.

    Raises:
        InputError: nothing there, two prompts of one name, or as ``PromptMaker.prompt``.
        CorpusError: a file that is not UTF-8, or a line that is no prompt.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("there is no such file or folder", where=path, cure="check the path")
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise InputError("the folder has no .txt files", where=path, cure="write each prompt to a .txt file")
    names: set[str] = set()
    for file in files:
        for prompt in _prompts(file, maker, target):
            if prompt.name in names:
                raise InputError(f"two prompts are called {prompt.name!r}", where=file, cure="rename one")
            names.add(prompt.name)
            yield prompt


def _prompts(file: Path, maker: PromptMaker, target: str | None) -> Iterator[GraphPrompt]:
    try:
        # Not by read_text, which would turn "\r\n" inside a prompt into "\n".
        text = file.read_bytes().decode()
    except UnicodeDecodeError:
        raise CorpusError("the file is not UTF-8", where=file, cure="save it as UTF-8") from None
    if file.suffix != ".jsonl":
        whole = text.rstrip("\r\n")
        made = maker.prompt(whole, target, file.stem)
        yield GraphPrompt(made.name, whole, made.token_ids, made.target_id, stripped_newline=whole != text)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file.name} line {number}"
        try:
            entry = json.loads(line)
            prompt, own, name = entry["prompt"], entry.get("target", target), entry.get("name", f"{file.stem}-{number}")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CorpusError("the line is no prompt", where=where, cure='write {"prompt": "..."}') from None
        if not isinstance(prompt, str) or not isinstance(name, str) or not isinstance(own, str | None):
            raise CorpusError("the line is no prompt", where=where, cure='write {"prompt": "..."}')
        yield maker.prompt(prompt, own, name)
