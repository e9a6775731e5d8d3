"""A server on this machine that answers its own pages and programs only, never another page in the user's browser.

Loopback is no wall: every page that a browser shows can send requests to 127.0.0.1, and read the answers if its name is
made to resolve there (DNS rebinding).
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY_VIOLATION = 1008
"""Code of a WebSocket that is closed for what was asked (RFC 6455, 7.4.1)."""
_HEADERS = {
    b"x-frame-options": b"SAMEORIGIN",
    b"content-security-policy": b"frame-ancestors 'self'",
    b"cross-origin-resource-policy": b"same-origin",
}
"""Added to answers that lack them: no other page may frame or embed them."""


class OwnPagesOnly:
    """ASGI middleware that refuses, with status 403 and one line, what another site's page asks.

    A request passes if all of these hold:

    - ``Host`` is an address, ``localhost`` or one of ``names``: the name of a hostile page does not become one of them
      by resolving to this machine.
    - ``Origin``, if sent, is that of the host: another port of this machine is another origin.
    - ``Sec-Fetch-Site``, which browsers send and pages cannot change, says that the request comes from the server's own
      pages or from the user; links from elsewhere may open a page.

    Programs send neither ``Origin`` nor ``Sec-Fetch-Site``.

    Args:
        app: the application.
        names: further names of the server, as in the ``Host`` header without the port.
    """

    def __init__(self, app: Application, names: Collection[str] = ()):
        self._app, self._names = app, {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif (why := self.refusal(scope.get("method", "GET"), scope["headers"])) is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": why})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS.items()]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"{why}\n".encode()})

    def refusal(self, method: str, headers: Collection[tuple[bytes, bytes]]) -> str | None:
        """Why a request is refused; None if it passes."""
        hosts, origins = _values(headers, b"host"), _values(headers, b"origin")
        if len(hosts) != 1 or not self._ours(hosts[0]):
            return f"refused: {', '.join(hosts) or 'no host'!r} is no name of this server; use its address or localhost"
        if any(not _same_origin(origin, hosts[0]) for origin in origins):
            return f"refused: asked by a page of {', '.join(origins)}, not of {hosts[0]}"
        site, mode, destination = (
            next(iter(_values(headers, b"sec-fetch-" + name)), "") for name in (b"site", b"mode", b"dest")
        )
        opened = mode == "navigate" and destination == "document" and method in ("GET", "HEAD")
        if site in ("cross-site", "same-site") and not opened:
            return f"refused: asked by a page of another site, not of {hosts[0]}"
        return None

    def _ours(self, host: str) -> bool:
        """Whether a ``Host`` header names this server."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return False
        if parts.netloc != host or "@" in host:
            return False
        try:
            ip_address(name)
        except ValueError:
            return name in self._names
        return True


def _same_origin(origin: str, host: str) -> bool:
    """Whether an origin is the host's; a proxy may have ended its TLS."""
    scheme, mark, rest = origin.partition("://")
    return bool(mark) and scheme in ("http", "https") and rest.lower() == host.lower()


def _values(headers: Collection[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in headers if key.lower() == name]


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {key.lower() for key, _ in message.get("headers", ())}
            added = [header for header in _HEADERS.items() if header[0] not in there]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending
