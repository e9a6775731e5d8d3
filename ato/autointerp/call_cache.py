"""Records of the calls of language-model judges, found again by the hash of what was asked: nothing is asked twice."""

import dataclasses
import errno
import json
import os
import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from ato.autointerp.budget import Usage
from ato.errors import DiskFullError, UnavailableError

Status = Literal["answered", "rejected", "failed"]


@dataclass(frozen=True)
class CallRecord:
    """One exchange with a server: a row of ``llm_calls``."""

    call: str
    """SHA-256 of model, messages, schema, temperature, seed and the limit of the reply, see ``ChatRequest.key``."""
    judge: str
    model: str
    purpose: str
    """Kind of the question: description, detection, fuzzing, intruder, classification."""
    status: Status
    """A rejected reply came and breaks the schema; of a failed call none came."""
    mode: str | None
    """How the reply's form was asked for: json_schema, json_object or plain; None for a failed call."""
    n_attempts: int
    """Requests that it took."""
    prompt_tokens: int | None
    """As the server counts; None where it does not."""
    completion_tokens: int | None
    cost: float | None
    """None where the server does not count tokens."""
    seconds: float
    reply: str | None
    """The raw text."""
    reason: str | None
    """Why it was rejected or failed."""
    made_at: str
    """UTC, ISO 8601."""
    probabilities: dict[str, float] = field(default_factory=dict)
    """Path of a choice in the reply (``answers/0``) -> that it is true, or of the given choice; see ``choices``."""
    log_probability: float | None = None
    """Of all choices as they were answered, see ``answered_log_probability``; None where the server gives none."""
    paid_by: str | None = None
    """Whose budget it was made on; None where nobody said."""

    def row(self) -> dict[str, Any]:
        """The columns of ``llm_calls``, the time as a datetime: those of single choices stand with the trials."""
        told = dataclasses.asdict(self) | {"made_at": datetime.fromisoformat(self.made_at)}
        del told["probabilities"], told["paid_by"]
        return told


class CallStore(Protocol):
    """Keeps records; safe for several threads."""

    def get(self, call: str) -> CallRecord | None:
        """The latest record of a call."""

    def put(self, record: CallRecord) -> None:
        """Keep a record: when this returns, a killed process has it."""

    def records(self) -> Iterator[CallRecord]:
        """The latest record of each call."""


def taken_by(records: Iterable[CallRecord]) -> Usage:
    """What recorded calls took, as far as the server counted: where a budget goes on from."""
    made = [record for record in records if record.status != "failed"]
    prompt = sum(record.prompt_tokens or 0 for record in made)
    return Usage(len(made), prompt, sum(record.completion_tokens or 0 for record in made))


class MemoryCalls:
    """Records that end with the process."""

    def __init__(self) -> None:
        self._latest: dict[str, CallRecord] = {}

    def get(self, call: str) -> CallRecord | None:
        """The latest record of a call."""
        return self._latest.get(call)

    def put(self, record: CallRecord) -> None:
        """Keep a record."""
        self._latest[record.call] = record

    def records(self) -> Iterator[CallRecord]:
        """The latest record of each call."""
        return iter(list(self._latest.values()))


class FolderCalls(MemoryCalls):
    """Records in a folder, a line of JSON each; every process appends to a file of its own.

    A line is written at once and flushed to disk. What a killed process left of its last line is not read.

    Args:
        folder: created on first use; records that are there are read at once.

    Raises:
        UnavailableError: the folder cannot be read.
    """

    def __init__(self, folder: str | Path):
        super().__init__()
        self._folder, self._lock = Path(folder), threading.Lock()
        self._descriptor: int | None = None
        try:
            found = [record for path in self._folder.glob("*.jsonl") for record in _records_in(path)]
        except OSError as error:
            raise UnavailableError(f"cannot read the calls: {error.strerror}", where=self._folder) from error
        for record in sorted(found, key=lambda record: record.made_at):
            super().put(record)

    def put(self, record: CallRecord) -> None:
        """Keep a record.

        Raises:
            DiskFullError: no space left.
            UnavailableError: the folder cannot be written to.
        """
        line = json.dumps(dataclasses.asdict(record), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                self._close()  # the next line must not follow half of this one
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    cure = "free some space"
                    raise DiskFullError("no space left to keep a call", where=self._folder, cure=cure) from error
                raise UnavailableError(f"cannot keep a call: {error.strerror}", where=self._folder) from error
            super().put(record)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _append(self, line: bytes) -> None:
        if self._descriptor is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{os.getpid()}-{uuid.uuid4().hex}.jsonl"
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        while line:
            line = line[os.write(self._descriptor, line) :]
        os.fsync(self._descriptor)


def _records_in(path: Path) -> Iterator[CallRecord]:
    """Whole lines of a file; a torn one is passed over."""
    names = {column.name for column in dataclasses.fields(CallRecord)}
    for line in path.read_bytes().split(b"\n")[:-1]:  # what follows the last line feed is torn
        try:
            told = json.loads(line)
            record = CallRecord(**{name: value for name, value in told.items() if name in names})
        except (ValueError, TypeError, AttributeError):
            continue
        yield record
