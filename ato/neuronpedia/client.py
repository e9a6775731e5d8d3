"""Client of Neuronpedia: explanations and published top tokens of SAE features, from its API or its public dataset."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from ato.io.http_client import Cures, HttpClient
from ato.io.response_cache import ResponseCache
from ato.neuronpedia.bulk import BulkExport
from ato.neuronpedia.records import PublishedFeature, SourceId, feature_from

KEY_VARIABLE = "NEURONPEDIA_API_KEY"
API_URL = "https://www.neuronpedia.org"
BULK_URL = "https://neuronpedia-datasets.s3.us-east-1.amazonaws.com"
BATCH_SIZE = 50
"""Features of one batch request."""
_API_CURES = Cures(
    key=f"set {KEY_VARIABLE} to a valid key",
    address="check explain.api_url",
    busy="run again later, or set explain.mode=bulk",
)
_BULK_CURES = Cures(key="check explain.bulk_url", address="check explain.bulk_url")  # it is asked without a key
_WORKERS = 4
"""Requests under way at once."""

Report = Callable[[int, int], object]
"""Called with (done, total)."""


def _silent(done: int, total: int) -> None:
    """Report to nobody."""


def _is_object(body: bytes) -> None:
    if not isinstance(json.loads(body), dict):
        raise ValueError("not a JSON object")


def _is_list(body: bytes) -> None:
    if not isinstance(json.loads(body), list):
        raise ValueError("not a JSON list")


class Neuronpedia:
    """Fetches what is published about features; every sound answer is kept on disk and never asked for again.

    A run that was cut off finds everything it had fetched. A feature that is not there (404) is not an error.
    The key, if the environment variable ``NEURONPEDIA_API_KEY`` holds one, is sent to the API only.

    Args:
        cache: folder of the answers.
        api_url, bulk_url: servers.
        options: ``timeout``, ``max_attempts``, ``sleep`` and ``jitter`` of the requests, see ``HttpClient``.

    Raises:
        SettingsError: an address or the key cannot be used.
    """

    def __init__(self, cache: str | Path, *, api_url: str = API_URL, bulk_url: str = BULK_URL, **options: Any):
        self._cache = ResponseCache(cache)
        self._api = HttpClient(api_url, key=os.environ.get(KEY_VARIABLE), cures=_API_CURES, **options)
        self._bucket = HttpClient(bulk_url, cures=_BULK_CURES, **options)
        self._bulk = BulkExport(self._bucket, self._cache)

    def __enter__(self) -> "Neuronpedia":
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()
        self._bucket.close()

    def explained_features(
        self,
        neuronpedia_id: str,
        feature_ids: Collection[int] | None = None,
        *,
        d_sae: int = 0,
        mode: Literal["bulk", "api"] = "bulk",
        on_progress: Report = _silent,
    ) -> list[PublishedFeature]:
        """The published features of a source that have an explanation, by number.

        Args:
            neuronpedia_id: ``model/source``.
            feature_ids: which features; None for all (the API then goes through 0 ... d_sae - 1, in batches).
            mode: the public dataset, or the API.
            on_progress: called with (done, total), in files or features.

        Raises:
            InputError: the id is not ``model/source``.
            UnavailableError: the server cannot be reached or gave no sound answer.
            DamagedFileError: a file came damaged every time.
        """
        source = SourceId.parse(neuronpedia_id)
        if mode == "bulk":
            wanted = None if feature_ids is None else set(map(int, feature_ids))
            return self._bulk.features(source, wanted, on_progress)
        if feature_ids is None:
            found = self.features(source, range(d_sae), on_progress=on_progress)
        else:
            ids = sorted(set(map(int, feature_ids)))
            asked = self._in_parallel(lambda i: self.feature(source, i), ids, on_progress, [1] * len(ids))
            found = [feature for feature in asked if feature is not None]
        return [feature for feature in found if feature.explanations]

    def feature(self, source: SourceId, feature_id: int) -> PublishedFeature | None:
        """One feature with everything that is published about it; None if it is not there."""
        body = self._ask(f"/api/feature/{quote(source.model)}/{quote(source.source)}/{feature_id}", None)
        return None if body is None else feature_from(json.loads(body), source)

    def features(
        self, source: SourceId, feature_ids: Iterable[int], *, on_progress: Report = _silent
    ) -> list[PublishedFeature]:
        """Several features in requests of ``BATCH_SIZE``; what is not there is left out.

        These answers carry neither scores nor ids of the explanations.
        """
        ids = sorted(set(map(int, feature_ids)))
        groups = [ids[i : i + BATCH_SIZE] for i in range(0, len(ids), BATCH_SIZE)]
        answers = self._in_parallel(lambda g: self._batch(source, g), groups, on_progress, list(map(len, groups)))
        return [feature for answer in answers for feature in answer]

    def _batch(self, source: SourceId, ids: Sequence[int]) -> list[PublishedFeature]:
        asked = [{"modelId": source.model, "layer": source.source, "index": i, "maxActsToReturn": 0} for i in ids]
        body = self._ask("/api/features", asked)
        rows = [] if body is None else json.loads(body)
        features = (feature_from(row, source) for row in rows if isinstance(row, dict))
        return sorted(
            {f.feature_id: f for f in features if f is not None and f.feature_id in ids}.values(),
            key=lambda feature: feature.feature_id,
        )

    def _ask(self, path: str, body: Any) -> bytes | None:
        request = f"{'GET' if body is None else 'POST'} {self._api.base_url}{path} {json.dumps(body)}"
        answer = self._cache.get(request)
        if answer is None:
            answer = self._api.fetch(path, json=body, check=_is_object if body is None else _is_list)
            if answer is not None:
                self._cache.put(request, answer)
        return answer

    @staticmethod
    def _in_parallel(
        work: Callable[[Any], Any], items: Sequence[Any], on_progress: Report, sizes: Sequence[int]
    ) -> list[Any]:
        """Results in order of the items; the first failure ends the rest."""
        results, done, total = [], 0, sum(sizes)
        pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="neuronpedia")
        try:
            for result, size in zip(pool.map(work, items), sizes):
                results.append(result)
                done += size
                on_progress(done, total)
        finally:
            pool.shutdown(cancel_futures=True)
        return results
