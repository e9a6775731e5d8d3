"""Calls that are recorded, paid from a budget, and never made twice.

1. A call whose reply is in the store is not made.
2. What it may take at most is reserved; a budget that does not allow it ends the matter.
3. The exchange is recorded before its reply is used: whatever kills the process later, it is not repeated.
4. A rejected reply stays on record, and is asked once more, with what was wrong with it.
"""

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ato.autointerp.budget import Budget, BudgetExhausted, Usage
from ato.autointerp.call_cache import CallRecord, CallStore
from ato.autointerp.chat_client import ChatClient, ChatRequest, schema_text
from ato.autointerp.replies import RejectedReply, read_reply
from ato.errors import DataError, RefusedError, UnavailableError, UnreachableError

BUDGET = "budget"
"""Reason of what was not asked since the budget does not allow it."""
_FATAL = (401, 403, 404)
_MOST_FAILURES = 3
"""Calls that may fail one after the other before the server is given up."""
_QUOTED = 2000
"""Characters of a rejected reply that are shown again."""


@dataclass(frozen=True)
class Outcome:
    """What a request came to."""

    value: Any
    """Of the reply, which fits the schema; None without one."""
    reason: str | None = None
    """Why there is none."""
    record: CallRecord | None = None
    """Of the last exchange; None if there was none."""


class RecordedCalls:
    """Makes the calls of one judge; safe for several threads.

    Args:
        judge: its name.
        client: that asks.
        store: of the records.
        budget: that pays.
    """

    def __init__(self, judge: str, client: ChatClient, store: CallStore, budget: Budget):
        self._judge, self._client, self._store, self._budget = judge, client, store, budget
        self._failures, self._lock = 0, threading.Lock()

    def is_settled(self, request: ChatRequest) -> bool:
        """Whether nothing need be asked: a sound reply is there, or two that were rejected."""
        for _ in range(2):
            record = self._known(request)
            if record is None or record.status == "answered":
                break
            request = _corrected(request, record)
        else:
            return True
        return record is not None

    def ask(self, request: ChatRequest, purpose: str) -> Outcome:
        """The value of a reply that fits the schema, or why there is none.

        Raises:
            UnreachableError: nobody answers at the address.
            RefusedError: the key or the address is refused.
            UnavailableError: several calls have failed one after the other.
        """
        try:
            record = self._record(request, purpose)
            if record.status == "rejected":
                request = _corrected(request, record)
                record = self._record(request, purpose)
        except BudgetExhausted:
            return Outcome(None, BUDGET)
        if record.status != "answered":
            return Outcome(None, f"{record.status}: {record.reason}", record)
        try:
            return Outcome(read_reply(record.reply or "", request.schema)[0], None, record)
        except RejectedReply as error:  # a store of another version
            return Outcome(None, f"rejected: {error}", record)

    def _known(self, request: ChatRequest) -> CallRecord | None:
        record = self._store.get(request.key)
        return None if record is None or record.status == "failed" else record

    def _record(self, request: ChatRequest, purpose: str) -> CallRecord:
        """The record of an exchange, made now if there is none."""
        if (known := self._known(request)) is not None:
            return known
        most = Usage(1, request.most_prompt_tokens, request.max_tokens)
        self._budget.reserve(most)
        taken = Usage(1) + Usage(0, most.prompt_tokens, most.completion_tokens)
        try:
            record = self._exchange(request, purpose)
            if record.status == "failed":
                taken = Usage(1)
            elif record.prompt_tokens is not None and record.completion_tokens is not None:
                taken = Usage(1, record.prompt_tokens, record.completion_tokens)
            self._store.put(record)
        finally:  # without counts, what it may have taken at most
            self._budget.settle(most, taken)
        return record

    def _exchange(self, request: ChatRequest, purpose: str) -> CallRecord:
        empty = CallRecord(
            call=request.key,
            judge=self._judge,
            model=request.model,
            purpose=purpose,
            status="failed",
            mode=None,
            n_attempts=0,
            prompt_tokens=None,
            completion_tokens=None,
            cost=None,
            seconds=0.0,
            reply=None,
            reason=None,
            made_at="",
        )
        try:
            reply = self._client.ask(request)
        except (UnavailableError, DataError) as error:
            self._failed(error)
            return replace(empty, reason=str(error), made_at=_now())
        with self._lock:
            self._failures = 0
        counted = reply.prompt_tokens is not None and reply.completion_tokens is not None
        usage = Usage(1, reply.prompt_tokens or 0, reply.completion_tokens or 0)
        return replace(
            empty,
            status="answered" if reply.reason is None else "rejected",
            mode=reply.mode,
            n_attempts=reply.n_attempts,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cost=usage.cost(self._budget.prices) if counted else None,
            seconds=reply.seconds,
            reply=reply.text,
            reason=reply.reason,
            made_at=_now(),
            probabilities=reply.probabilities,
        )

    def _failed(self, error: UnavailableError | DataError) -> None:
        """Raise an error that the next call would meet as well."""
        with self._lock:
            self._failures += 1
            failures = self._failures
        refused = isinstance(error, RefusedError) and error.status in _FATAL
        if refused or isinstance(error, UnreachableError) or failures >= _MOST_FAILURES:
            raise error


def _corrected(request: ChatRequest, record: CallRecord) -> ChatRequest:
    """The request once more, with the reply that was rejected and why."""
    said = {"role": "assistant", "content": (record.reply or "")[:_QUOTED] or "(nothing)"}
    wrong = f"This reply was rejected: {record.reason}. {schema_text(request.schema)}"
    return replace(request, messages=(*request.messages, said, {"role": "user", "content": wrong}))


def _now() -> str:
    return datetime.now(UTC).isoformat()
