"""Calls of the Prefect server that outlast a restart of it: finished work must not fail because a message did not arrive."""

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from prefect.client import base
from prefect.logging import get_logger

from tasks.engine.looking import is_looking

Answer = TypeVar("Answer")
PAUSES = (1, 2, 4, 8, 16, 32, 60)
"""Seconds between attempts: a server that restarts answers within their sum."""


def call_with_retry(call: Callable[..., Answer], *args: Any, **options: Any) -> Answer | None:
    """Call something that asks the server, and try again while it does not answer; None, and a warning, if it never does.

    None too, and no call, in a look: it has no server.
    Prefect's client retries by itself only if it has been connected before, and most callers make a new one.
    """
    if is_looking():
        return None
    for pause in (*PAUSES, None):
        try:
            return call(*args, **options)
        except httpx.HTTPError as error:
            if pause is None:
                what = getattr(call, "__name__", "a message")
                get_logger("ato").warning("%s did not reach the Prefect server: %s", what, error)
                return None
            time.sleep(pause)
    raise AssertionError("the last attempt returns")


def outlast_the_server() -> None:
    """Let all of Prefect's clients in this process retry for a minute while no server answers.

    By themselves they do so only after a first answer, and Prefect makes new ones for every subflow, log and artifact: a
    server that restarts at that moment would fail the run.
    """
    for client in (base.PrefectHttpxAsyncClient, base.PrefectHttpxSyncClient):
        client._has_connected = property(lambda self: True, lambda self, value: None)  # type: ignore[assignment]


if "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker started this process, with the server's address
    outlast_the_server()
