"""Requests that survive a busy server: back-off with jitter, checked bodies, one clear line when nobody answers."""

import json as json_text
import random
import re
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ato.errors import DamagedFileError, RefusedError, SettingsError, UnavailableError, UnreachableError

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0
"""Longest wait for a connection: without a network a run must go on soon."""
UNREACHABLE_ATTEMPTS = 2
RETRIED = frozenset({429, 500, 502, 503, 504})
EXPLAINED = frozenset({200, 400, 422})
"""Statuses whose body is read: refusals of a request's form say what is wrong with it."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
LONGEST_ASKED_PAUSE = 300.0
"""A server that asks for more patience than this (seconds) is given up."""

LARGEST_BODY = 512 * 2**20
"""Most bytes of a body, after decompression."""
SLOWEST_RATE = 10_000
"""Bytes per second below which a body that dribbles in is given up, after three times the time-out."""

Check = Callable[[bytes], object]
"""Raises ValueError, EOFError or OSError for a body that is not whole."""


class _TryAgain(Exception):
    """A failure that may pass, and how often and when to try again."""

    def __init__(self, failure: Exception, *, pause: float | None = None, attempts: int = sys.maxsize):
        super().__init__(str(failure))
        self.failure, self.pause, self.attempts = failure, pause, attempts


@dataclass(frozen=True)
class Cures:
    """What the user can do, in the terms of whoever uses the client: variables and settings that concern the server."""

    key: str = "set a valid API key"
    """About a key that cannot be used, or that the server refuses."""
    address: str = "check the address"
    """About requests that the server refuses otherwise."""
    busy: str = "run again later"
    """About a server that asks to wait too long."""
    network: str = "check the network connection"
    """About a server that nobody answers for."""


class HttpClient:
    """An HTTP client of one server.

    429, 500, 502, 503, 504, broken connections and damaged bodies are tried again, up to ``max_attempts`` requests in
    all, after a random pause between 0 and min(60 s, 1 s * 2^n) ("full jitter"; Brooker, 2015), or what the server's
    ``Retry-After`` asks for. Redirects are not followed: a key must not reach another server, nor a request of ours one
    inside the user's network. A body that is larger than ``largest`` after decompression, or that never ends, is refused.

    Args:
        base_url: ``https://server``; requests are paths below it.
        key: sent as ``x-api-key``; it appears in no error, log or cache.
        bearer: send the key as ``Authorization: Bearer`` instead.
        timeout: seconds to wait for each answer.
        max_attempts: requests in all.
        largest: most bytes of a body, after decompression.
        cures: what error messages advise.
        sleep: how to wait, replaced by tests.
        jitter: uniform numbers in [0, 1), replaced by tests.

    Raises:
        SettingsError: the address or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        bearer: bool = False,
        timeout: float = 20.0,
        max_attempts: int = 6,
        largest: int = LARGEST_BODY,
        cures: Cures = Cures(),
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ):
        self.base_url = base_url.rstrip("/")
        if not re.fullmatch(r"https?://[^\s/@]+(/[^\s]*)?", self.base_url):
            raise SettingsError(f"invalid address {base_url!r}", cure="write https://server")
        key = (key or "").strip()
        if not re.fullmatch(r"[\x21-\x7e]*", key):
            # The HTTP library would quote the key in its own complaint.
            raise SettingsError("the API key contains invalid characters", cure=cures.key)
        self._key, self._timeout, self._cures = key, timeout, cures
        self._key_header = {"authorization": f"Bearer {key}"} if bearer else {"x-api-key": key}
        self._max_attempts, self._largest, self._sleep, self._jitter = max_attempts, largest, sleep, jitter

    @cached_property
    def _client(self) -> "httpx.Client":
        """Made when first needed: loading the certificates takes a while."""
        import httpx

        try:
            return httpx.Client(
                headers={"accept-encoding": "gzip"} | (self._key_header if self._key else {}),
                timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, CONNECT_SECONDS)),
            )
        except (ImportError, ValueError, OSError) as error:
            raise UnavailableError(f"cannot connect: {error}", cure="check the proxy variables") from None

    def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            self._client.close()

    def fetch(
        self,
        path: str,
        *,
        params: dict[str, str] | None = None,
        json: Any = None,
        check: Check,
        absent: Collection[int] = (404,),
        on_attempt: Callable[[], object] = lambda: None,
    ) -> bytes | None:
        """The body of an answer that passed ``check``; None if the server says there is no such thing.

        Args:
            path: below the base address, with a leading slash.
            params: query.
            json: body of a POST; without it the request is a GET.
            check: of the body.
            absent: statuses that say that there is no such thing; others are refusals.
            on_attempt: called before each request.

        Raises:
            UnreachableError: no connection.
            RefusedError: the server refuses the request.
            UnavailableError: no sound answer in ``max_attempts`` requests.
            DamagedFileError: every answer was damaged.
        """
        for attempt in range(1, self._max_attempts + 1):
            on_attempt()
            try:
                return self._request(path, params, json, check, absent)
            except _TryAgain as again:
                if attempt >= min(again.attempts, self._max_attempts):
                    raise again.failure from None
                backoff = self._jitter() * min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
                self._sleep(backoff if again.pause is None else again.pause)
        raise SettingsError("max_attempts is 0", cure="allow at least one request")

    def _request(
        self, path: str, params: dict[str, str] | None, json: Any, check: Check, absent: Collection[int]
    ) -> bytes | None:
        """One request; raises _TryAgain for what may pass."""
        import httpx

        method = "GET" if json is None else "POST"
        try:
            with self._client.stream(method, self.base_url + path, params=params, json=json) as response:
                body = self._body(response, path) if response.status_code in EXPLAINED else b""
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            what = f"cannot be reached ({_reason(error)})"
            unreachable = UnreachableError(what, where=self.base_url, cure=self._cures.network)
            raise _TryAgain(unreachable, attempts=UNREACHABLE_ATTEMPTS) from None
        except httpx.TransportError as error:
            raise _TryAgain(self._gave_up(f"the connection broke ({type(error).__name__})", path)) from None
        except httpx.DecodingError:
            raise _TryAgain(self._gave_up("the answer cannot be decompressed", path)) from None
        if response.status_code in absent:
            return None
        if response.status_code in RETRIED:
            raise _TryAgain(self._gave_up(f"answered {response.status_code}", path), pause=self._asked_pause(response))
        if response.status_code != 200:
            raise self._refusal(response.status_code, path, self._said(body))
        try:
            check(body)
        except (ValueError, EOFError, OSError, RecursionError) as error:
            what = f"the file arrived damaged in {self._max_attempts} attempts ({_reason(error)})"
            damaged = DamagedFileError(what, where=self.base_url + path, cure="try again later")
            raise _TryAgain(damaged) from None
        return body

    def _body(self, response: "httpx.Response", path: str) -> bytes:
        """The body, if it is neither too large nor too slow; read in pieces, so that no more is held."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise UnavailableError(
                f"answered with the encoding {encoding}", where=self.base_url + path, cure=self._cures.address
            )
        body, began = bytearray(), time.monotonic()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > self._largest:
                what = f"answered with more than {self._largest / 2**20:g} MiB"
                raise UnavailableError(what, where=self.base_url + path, cure=self._cures.address)
            if time.monotonic() - began > 3 * self._timeout + len(body) / SLOWEST_RATE:
                raise _TryAgain(self._gave_up("the answer comes too slowly", path), attempts=UNREACHABLE_ATTEMPTS)
        return bytes(body)

    def _gave_up(self, what: str, path: str) -> UnavailableError:
        return UnavailableError(
            f"{what} after {self._max_attempts} attempts", where=self.base_url + path, cure="try again later"
        )

    def _refusal(self, status: int, path: str, said: str) -> RefusedError:
        cure = self._cures.key if status in (401, 403) else self._cures.address
        what = f"request refused with status {status}" + (f", {said!r}" if said else "")
        error = RefusedError(what, where=self.base_url + path, cure=cure)
        error.status, error.said = status, said
        return error

    def _said(self, body: bytes) -> str:
        """The words of a refusal, ``{"error": {"message": ...}}`` or the like, at most 200 characters; never the key."""
        try:
            found = json_text.loads(body)
        except (ValueError, RecursionError):
            return ""
        for name in ("error", "message", "detail"):
            found = found.get(name, found) if isinstance(found, dict) else found
        said = " ".join(str(found).split())
        return (said.replace(self._key, "...") if self._key else said)[:200]

    def _asked_pause(self, response: "httpx.Response") -> float | None:
        """Seconds that ``Retry-After`` asks for, a number or a date; None without one that can be read."""
        text = response.headers.get("retry-after", "").strip()
        try:
            if text.isdigit():
                seconds = float(text)
            else:
                seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
        if seconds > LONGEST_ASKED_PAUSE:
            raise UnavailableError(f"asks to wait {seconds:.0f} seconds", where=self.base_url, cure=self._cures.busy)
        return max(seconds, 0.0)


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
