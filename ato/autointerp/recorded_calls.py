"""Calls that are recorded, paid from a budget, and never made twice.

1. A call whose reply is in the store is not made.
2. What it may take at most is reserved; a budget that does not allow it ends the matter.
3. The exchange is recorded before its reply is used: whatever kills the process later, it is not repeated.
4. A rejected reply stays on record, and is asked once more, with what was wrong with it.
"""

import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ato.autointerp.budget import Budget, BudgetExhausted, Usage
from ato.autointerp.call_cache import CallRecord, CallStore, Status
from ato.autointerp.chat_client import ChatClient, ChatReply, ChatRequest, schema_text
from ato.autointerp.replies import RejectedReply, answered_log_probability, read_reply
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
        record = self._known(request)
        if record is not None and record.status == "rejected":
            record = self._known(_corrected(request, record))
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
        taken = most  # unless the server says otherwise: a broken connection may be charged for
        try:
            record, taken = self._exchange(request, purpose, most)
            self._store.put(record)
        finally:
            self._budget.settle(most, taken)
        return record

    def _exchange(self, request: ChatRequest, purpose: str, most: Usage) -> tuple[CallRecord, Usage]:
        """The record of a call, and what it took."""
        attempts, began = [0], time.monotonic()

        def attempt() -> None:
            attempts[0] += 1

        def recorded(status: Status, reason: str | None, reply: ChatReply | None, used: Usage | None) -> CallRecord:
            return CallRecord(
                call=request.key,
                judge=self._judge,
                model=request.model,
                purpose=purpose,
                status=status,
                mode=reply.mode if reply else None,
                n_attempts=attempts[0],
                prompt_tokens=used.prompt_tokens if used else None,
                completion_tokens=used.completion_tokens if used else None,
                cost=used.cost(self._budget.prices) if used else None,
                seconds=time.monotonic() - began,
                reply=reply.text if reply else None,
                reason=reason,
                made_at=datetime.now(UTC).isoformat(),
                probabilities=reply.probabilities if reply else {},
                log_probability=answered_log_probability(reply.value, reply.probabilities) if reply else None,
            )

        try:
            reply = self._client.ask(request, attempt)
        except (UnavailableError, DataError) as error:
            self._note_failure(error)
            return recorded("failed", str(error), None, None), Usage(1) if isinstance(error, RefusedError) else most
        self._failures = 0
        status: Status = "answered" if reply.reason is None else "rejected"
        return recorded(status, reply.reason, reply, reply.used), reply.used or most

    def _note_failure(self, error: UnavailableError | DataError) -> None:
        """Raise an error that the next call would meet as well."""
        if isinstance(error, RefusedError) and error.status not in _FATAL:
            return  # this request is refused, not every one
        with self._lock:
            self._failures += 1
            given_up = self._failures >= _MOST_FAILURES
        if isinstance(error, RefusedError | UnreachableError) or given_up:
            raise error


def _corrected(request: ChatRequest, record: CallRecord) -> ChatRequest:
    """The request once more, with the reply that was rejected and why."""
    said = {"role": "assistant", "content": (record.reply or "")[:_QUOTED] or "(nothing)"}
    wrong = f"This reply was rejected: {record.reason}. {schema_text(request.schema)}"
    return replace(request, messages=(*request.messages, said, {"role": "user", "content": wrong}))
