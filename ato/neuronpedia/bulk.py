"""Neuronpedia's public dataset: files of explanations and features, listed page by page and read line by line."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from ato.errors import UnavailableError
from ato.io.http_client import HttpClient
from ato.io.response_cache import ResponseCache
from ato.neuronpedia.records import (
    Explanation,
    PublishedFeature,
    SourceId,
    explanation_from,
    feature_from,
    merge,
    without_duplicates,
)

LONGEST_LINE, LARGEST_FILE = 64 * 2**20, 8 * 2**30
"""Most bytes of a line and of a whole file, after decompression."""
MOST_PAGES = 10_000
"""Pages of a listing; each has up to a thousand files."""

_BATCH = re.compile(r"batch-(\d+)\.jsonl\.gz")


class BulkExport:
    """The bucket ``v1/{modelId}/{source}/explanations/batch-N.jsonl.gz`` and ``.../features/batch-N.jsonl.gz``.

    Files are kept under their ETag, so a run that was cut off fetches only the rest, and a file that was published
    anew is fetched again.

    Args:
        client: of the bucket; it gets no key.
        cache: where the files stay.
    """

    def __init__(self, client: HttpClient, cache: ResponseCache):
        self._client, self._cache = client, cache

    def batches(self, source: SourceId, kind: str) -> list[tuple[str, str]]:
        """(key, ETag) of the files of a kind (``explanations`` or ``features``), by number; empty if none are there."""
        prefix, token = f"v1/{source}/{kind}/", ""
        found: list[tuple[int, str, str]] = []
        for _ in range(MOST_PAGES):
            params = {"list-type": "2", "prefix": prefix} | ({"continuation-token": token} if token else {})
            body = self._client.fetch("/", params=params, check=_parse_listing)
            if body is None:
                return []
            contents, token = _parse_listing(body)
            for key, etag in contents:
                if key.startswith(prefix) and (match := _BATCH.fullmatch(key.removeprefix(prefix))):
                    found.append((int(match[1]), key, etag))
            if not token:
                return [(key, etag) for _, key, etag in sorted(found)]
        raise UnavailableError("the listing of files does not end", where=self._client.base_url + "/" + prefix)

    def rows(self, key: str, etag: str) -> Iterator[dict[str, Any]]:
        """The JSON objects of a file; nothing if it has gone since it was listed.

        Raises:
            DamagedFileError: the file came truncated or unreadable every time; it is named.
            UnavailableError: it could not be fetched.
        """
        request = f"GET {self._client.base_url}/{key} {etag}"
        body = self._cache.get(request)
        if body is None:
            body = self._client.fetch(f"/{quote(key)}", check=_check_lines)
            if body is None:
                return
            self._cache.put(request, body)
        yield from _lines(body)

    def features(
        self, source: SourceId, wanted: Collection[int] | None, on_progress: Callable[[int, int], object]
    ) -> list[PublishedFeature]:
        """Explained features with their explanations and published top tokens, by number.

        Files of features are large; they are read only until every explained feature has been met.

        Args:
            wanted: numbers of the features; None for all.
            on_progress: called with (files read, files in all).
        """
        texts, tokens = self.batches(source, "explanations"), self.batches(source, "features")
        total = len(texts) + len(tokens)
        explained: dict[int, list[Explanation]] = {}
        for done, (key, etag) in enumerate(texts, 1):
            for row in self.rows(key, etag):
                item = explanation_from(row, source)
                if item is not None and (wanted is None or item.feature_id in wanted):
                    explained.setdefault(item.feature_id, []).append(item)
            on_progress(done, total)
        found = {i: PublishedFeature(i, without_duplicates(items)) for i, items in explained.items()}
        missing = set(found)
        for done, (key, etag) in enumerate(tokens, len(texts) + 1):
            if not missing:
                break
            for row in self.rows(key, etag):
                feature = feature_from(row, source)
                if feature is not None and feature.feature_id in missing:
                    found[feature.feature_id] = merge(feature, explained[feature.feature_id])
                    missing.discard(feature.feature_id)
            on_progress(done, total)
        on_progress(total, total)
        return [found[i] for i in sorted(found)]


def _parse_listing(body: bytes) -> tuple[list[tuple[str, str]], str]:
    """((key, ETag) pairs, continuation token or "") of a ListObjectsV2 answer."""
    if b"<!" in body:
        raise ValueError("not a listing: it declares entities")  # which could expand without end
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise ValueError(f"not a listing: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # with or without Amazon's namespace
    if root.tag != "ListBucketResult":
        raise ValueError(f"expected a listing, got {root.tag}")
    contents = [(item.findtext("Key", ""), item.findtext("ETag", "")) for item in root.iter("Contents")]
    truncated = root.findtext("IsTruncated", "false").strip().lower() == "true"
    return contents, root.findtext("NextContinuationToken", "") if truncated else ""


def _lines(body: bytes) -> Iterator[dict[str, Any]]:
    read = 0
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as lines:
        while line := lines.readline(LONGEST_LINE + 1):
            read += len(line)
            if len(line) > LONGEST_LINE or read > LARGEST_FILE:
                raise ValueError(f"more than {LONGEST_LINE:,} bytes a line or {LARGEST_FILE:,} in all")
            if line.strip():
                row = json.loads(line)
                if isinstance(row, dict):
                    yield row


def _check_lines(body: bytes) -> None:
    """Read the whole file once; a cut or altered one raises."""
    try:
        for _ in _lines(body):
            pass
    except zlib.error as error:
        raise ValueError(f"not gzip: {error}") from None
