"""A local server that speaks Neuronpedia's documented protocol, faults included: API, and the public bucket.

Answers are built from ``features`` (index -> API row) and ``files`` (key -> bytes). ``faults`` holds, for a path, the
statuses or bodies that come first, in order; what follows is sound. Every request is recorded.
"""

import gzip
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.local_server import LocalServer, QuietHandler

MODEL, SOURCE = "tiny", "4-tiny-res-16k"
NEURONPEDIA_ID = f"{MODEL}/{SOURCE}"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True)
class Fault:
    """One answer that is not sound."""

    status: int = 200
    body: bytes = b""
    retry_after: str | None = None
    reset: bool = False
    """Close the connection without a word."""


TOO_MANY = Fault(
    429,
    json.dumps(
        {
            "endpoint": "/api",
            "limitPerWindow": 25_000,
            "requestWindow": "60 m",
            "remainingRequests": 0,
            "error": "too many requests",
        }
    ).encode(),
)


@dataclass(frozen=True)
class Request:
    """One request that came in."""

    method: str
    path: str
    key: str | None
    body: Any


def explanation(index: int | str | None, description: str | None, **changes: Any) -> dict[str, Any]:
    """A line of ``explanations/``."""
    return {
        "id": f"id-{index}-{description}",
        "modelId": MODEL,
        "layer": SOURCE,
        "index": index,
        "description": description,
        "authorId": "author",
        "typeName": "np_acts-logits-general",
        "explanationModelName": "writer",
        "createdAt": "2025-01-01",
    } | changes


def feature(index: int | str, pos_str: list[str], explanations: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """An answer of the API about one feature, without most of its fields."""
    return {
        "modelId": MODEL,
        "layer": SOURCE,
        "index": str(index),
        "pos_str": pos_str,
        "pos_values": [1.0] * len(pos_str),
        "neg_str": [],
        "frac_nonzero": 0.01,
        "activations": [],
        "explanations": list(explanations),
    }


def packed(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A ``.jsonl.gz`` file."""
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)


@dataclass
class NeuronpediaServer(LocalServer):
    """Starts at ``with``; see the module."""

    features: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    key: str | None = None
    """Required of every API request, if set."""
    page_size: int = 2
    """Keys of one page of a listing."""
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> "NeuronpediaServer":
        owner = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                owner._answer(self, "GET", None)

            def do_POST(self) -> None:
                owner._answer(self, "POST", json.loads(self.rfile.read(int(self.headers["content-length"]))))

        self._lock = threading.Lock()
        self.start(Handler)
        return self

    def put(self, kind: str, number: int, rows: Iterable[Mapping[str, Any]]) -> str:
        """Publish ``kind/batch-number.jsonl.gz``; returns its key."""
        key = f"v1/{NEURONPEDIA_ID}/{kind}/batch-{number}.jsonl.gz"
        self.files[key] = packed(rows)
        return key

    def paths(self, containing: str = "") -> list[str]:
        """Paths that were asked for, in order."""
        return [request.path for request in self.requests if containing in request.path]

    def _answer(self, handler: BaseHTTPRequestHandler, method: str, body: Any) -> None:
        path = unquote(handler.path)
        with self._lock:
            self.requests.append(Request(method, path, handler.headers.get("x-api-key"), body))
            waiting = self.faults.get(urlsplit(path).path, [])
            fault = waiting.pop(0) if waiting else None
        if fault is None:
            fault = self._sound(method, path, handler.headers.get("x-api-key"), body)
        if fault.reset:
            handler.close_connection = True
            return
        handler.send_response(fault.status)
        if fault.retry_after is not None:
            handler.send_header("Retry-After", fault.retry_after)
        handler.send_header("Content-Length", str(len(fault.body)))
        handler.end_headers()
        handler.wfile.write(fault.body)

    def _sound(self, method: str, path: str, key: str | None, body: Any) -> Fault:
        address = urlsplit(path)
        if address.path.startswith("/api/"):
            if self.key is not None and key != self.key:
                return Fault(401, b'{"error": "invalid key"}')
            if method == "POST":
                found = [self.features[item["index"]] for item in body if item["index"] in self.features]
                kept = ("description", "explanationModelName", "typeName")
                short = [
                    row | {"explanations": [{k: e[k] for k in kept} for e in row["explanations"]]} for row in found
                ]
                return Fault(200, json.dumps(short).encode())
            prefix = f"/api/feature/{NEURONPEDIA_ID}/"
            index = address.path.removeprefix(prefix)
            if address.path.startswith(prefix) and int(index) in self.features:
                return Fault(200, json.dumps(self.features[int(index)]).encode())
            return Fault(404, b'{"error": "not found"}')
        if address.path == "/":
            return Fault(200, self._listing(parse_qs(address.query)))
        data = self.files.get(address.path.removeprefix("/"))
        return Fault(404, b"<Error/>") if data is None else Fault(200, data)

    def _listing(self, query: dict[str, list[str]]) -> bytes:
        """A page of ListObjectsV2, in the order of the keys' text; the token is the last key of the page before."""
        after = query.get("continuation-token", [""])[0]
        keys = sorted(k for k in self.files if k.startswith(query["prefix"][0]) and k > after)
        page = keys[: self.page_size]
        contents = "".join(
            f"<Contents><Key>{escape(k)}</Key><ETag>&quot;{hash(self.files[k])}&quot;</ETag>"
            f"<Size>{len(self.files[k])}</Size></Contents>"
            for k in page
        )
        more = len(keys) > len(page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="{_NAMESPACE}">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{contents}{token}</ListBucketResult>"
        ).encode()
