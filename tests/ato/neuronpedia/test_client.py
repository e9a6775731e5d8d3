"""The Neuronpedia client against a local server that speaks the documented protocol, with every fault it can have."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ato.errors import DamagedFileError, InputError, SettingsError, UnavailableError
from ato.neuronpedia.client import BATCH_SIZE, Neuronpedia
from ato.neuronpedia.records import SourceId, explanation_from, feature_from, without_duplicates
from tests.neuronpedia_server import (
    MODEL,
    NEURONPEDIA_ID,
    SOURCE,
    Fault,
    NeuronpediaServer,
    explanation,
    feature,
)

SECRET = "sk-very-secret"
ID = SourceId(MODEL, SOURCE)


@pytest.fixture
def server() -> Iterator[NeuronpediaServer]:
    with NeuronpediaServer() as running:
        for i in (0, 3, 7):
            running.features[i] = feature(i, [f"tok{i}"], [explanation(i, f"about {i}")])
        running.features[5] = feature(5, ["tok5"])
        for number, rows in enumerate(([0, 3], [7], [9])):
            running.put("explanations", number, [explanation(str(i), f"about {i}") for i in rows])
        running.put("features", 0, [feature(i, [f"tok{i}"]) for i in (0, 1, 2, 3)])
        running.put("features", 1, [feature(i, [f"tok{i}"]) for i in (4, 5, 6, 7)])
        yield running


class Client(Neuronpedia):
    """A client whose pauses are recorded instead of slept."""

    def __init__(self, server: NeuronpediaServer | str, cache: Path, **options):
        self.pauses: list[float] = []
        url = server if isinstance(server, str) else server.url
        options = {"max_attempts": 4, "jitter": lambda: 1.0, "sleep": self.pauses.append} | options
        super().__init__(cache, api_url=url, bulk_url=url, **options)


@pytest.fixture
def client(server, tmp_path) -> Iterator[Client]:
    with Client(server, tmp_path) as opened:
        yield opened


PATH = f"/api/feature/{NEURONPEDIA_ID}/3"


def test_one_feature_comes_with_its_explanations_scores_and_top_tokens(server, client):
    scores = [{"value": 0.4, "explanationScoreTypeName": "recall"}, {"value": 0.9, "explanationScoreTypeName": "fuzz"}]
    server.features[3] = feature(3, ["▁a", "b"], [explanation(3, "letters", scores=scores, typeName="kind")])
    found = client.feature(ID, 3)
    assert (found.feature_id, found.top_tokens) == (3, ("▁a", "b"))
    [item] = found.explanations
    assert (item.description, item.type_name, item.explainer) == ("letters", "kind", "writer")
    assert (item.score, item.score_type, item.explanation_id) == (0.9, "fuzz", "id-3-letters")


def test_a_missing_feature_is_no_error(client):
    assert client.feature(ID, 4) is None
    assert [f.feature_id for f in client.explained_features(NEURONPEDIA_ID, [3, 4, 5], mode="api")] == [3]


def test_a_batch_asks_once_for_many_features_and_leaves_out_what_is_not_there(server, client):
    found = client.features(ID, [7, 4, 0, 5])
    assert [f.feature_id for f in found] == [0, 5, 7]
    assert found[0].explanations[0].description == "about 0"
    [request] = server.requests
    assert [item["index"] for item in request.body] == [0, 4, 5, 7]
    assert set(request.body[0].items()) >= {("modelId", MODEL), ("layer", SOURCE)}


def test_all_features_by_the_api_are_asked_for_in_batches_with_progress(server, client):
    seen = []
    found = client.explained_features(
        NEURONPEDIA_ID, None, d_sae=2 * BATCH_SIZE + 1, mode="api", on_progress=lambda *done: seen.append(done)
    )
    assert [f.feature_id for f in found] == [0, 3, 7]
    assert len(server.requests) == 3
    assert seen == [(BATCH_SIZE, 2 * BATCH_SIZE + 1), (2 * BATCH_SIZE, 2 * BATCH_SIZE + 1), (2 * BATCH_SIZE + 1,) * 2]


def test_bulk_files_of_every_page_of_the_listing_are_read(server, client):
    seen = []
    found = client.explained_features(NEURONPEDIA_ID, on_progress=lambda *done: seen.append(done))
    assert [f.feature_id for f in found] == [0, 3, 7, 9]
    assert [f.top_tokens for f in found] == [("tok0",), ("tok3",), ("tok7",), None]
    assert len(server.paths("continuation-token")) == 1
    assert seen[-1] == (5, 5)
    assert seen == sorted(seen)


def test_bulk_reads_no_more_feature_files_than_the_wanted_features_need(server, client):
    [found] = client.explained_features(NEURONPEDIA_ID, [3, 5])
    assert (found.feature_id, found.top_tokens) == (3, ("tok3",))
    assert [path[-10:] for path in server.paths("features/batch")] == ["0.jsonl.gz"]


def test_a_source_that_nobody_published_has_no_explanations(client):
    assert client.explained_features(f"{MODEL}/9-other") == []


def test_bulk_batches_are_read_by_number_and_not_by_name(server, client):
    for number in (10, 2):
        server.put("explanations", number, [])
    numbers = [key.rpartition("-")[2].split(".")[0] for key, _ in client._bulk.batches(ID, "explanations")]
    assert numbers == ["0", "1", "2", "10"]


def test_a_truncated_gzip_is_fetched_again(server, client):
    key = f"v1/{NEURONPEDIA_ID}/explanations/batch-0.jsonl.gz"
    whole = server.files[key]
    altered = whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:]
    server.faults[f"/{key}"] = [Fault(200, whole[:-9]), Fault(200, whole[: len(whole) // 2]), Fault(200, altered)]
    assert [f.feature_id for f in client.explained_features(NEURONPEDIA_ID, [0, 3])] == [0, 3]
    assert len(server.paths(key)) == 4


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b'{"a": 1}\n', mtime=0)[:-8], gzip.compress(b"{", mtime=0), b"\x1f\x8b\x08"]
)
def test_a_file_that_is_always_damaged_is_an_error_that_names_it_and_is_not_kept(server, client, body):
    key = f"v1/{NEURONPEDIA_ID}/explanations/batch-1.jsonl.gz"
    whole = server.files[key]
    server.files[key] = body
    with pytest.raises(DamagedFileError, match=r"batch-1\.jsonl\.gz") as caught:
        client.explained_features(NEURONPEDIA_ID)
    assert "\n" not in str(caught.value)
    server.files[key] = whole
    assert len(client.explained_features(NEURONPEDIA_ID)) == 4


def test_a_listing_that_is_no_listing_is_a_damaged_file(server, client):
    server.faults["/"] = [Fault(200, b"<html>down</html>")] * 9
    with pytest.raises(DamagedFileError, match="expected a listing"):
        client.explained_features(NEURONPEDIA_ID)


def test_a_run_cut_off_half_way_fetches_only_the_rest(server, tmp_path):
    ids = [0, 3, 7]
    server.faults[f"/api/feature/{NEURONPEDIA_ID}/7"] = [Fault(500)] * 4
    with Client(server, tmp_path) as client, pytest.raises(UnavailableError):
        client.explained_features(NEURONPEDIA_ID, ids, mode="api")
    before = len(server.requests)
    with Client(server, tmp_path) as client:
        assert [f.feature_id for f in client.explained_features(NEURONPEDIA_ID, ids, mode="api")] == ids
    assert [path.rpartition("/")[2] for path in server.paths()[before:]] == ["7"]


def test_bulk_files_are_fetched_once_until_they_are_published_anew(server, client, tmp_path):
    first = client.explained_features(NEURONPEDIA_ID)
    assert client.explained_features(NEURONPEDIA_ID) == first
    assert len(server.paths("jsonl.gz")) == 5 + 2  # a continuation token names a file too
    server.put("explanations", 1, [explanation(7, "about 7, better")])
    assert client.explained_features(NEURONPEDIA_ID)[2].explanations[0].description == "about 7, better"
    assert len(server.paths("jsonl.gz")) == 6 + 3


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: b"", lambda d: d[:70] + b"!" + d[71:], lambda d: d + b" "]
)
def test_a_damaged_cache_file_is_fetched_again(server, client, tmp_path, damage):
    first = client.feature(ID, 3)
    [file] = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_bytes(damage(file.read_bytes()))
    assert client.feature(ID, 3) == first
    assert len(server.requests) == 2
    assert client.feature(ID, 3) == first
    assert len(server.requests) == 2


def test_the_key_reaches_the_api_and_nothing_else(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NEURONPEDIA_API_KEY", f" {SECRET}\n")
    server.key = SECRET
    with caplog.at_level("DEBUG"), Client(server, tmp_path) as client:
        assert client.feature(ID, 3)
        assert client.explained_features(NEURONPEDIA_ID)
        server.faults[PATH.replace("/3", "/0")] = [Fault(403, SECRET.encode())]
        with pytest.raises(UnavailableError) as caught:
            client.feature(ID, 0)
    assert {r.key for r in server.requests if r.path.startswith("/api")} == {SECRET}
    assert {r.key for r in server.requests if not r.path.startswith("/api")} == {None}
    kept = [path.read_bytes() + str(path).encode() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(SECRET.encode() in data for data in kept)
    assert SECRET not in caplog.text + str(caught.value) + repr(caught.value)


def test_without_the_key_that_a_server_requires_the_error_names_the_variable(server, client, monkeypatch):
    server.key = SECRET
    with pytest.raises(UnavailableError, match="NEURONPEDIA_API_KEY"):
        client.feature(ID, 3)


def test_a_key_that_no_header_can_hold_is_refused_without_being_quoted(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURONPEDIA_API_KEY", f"{SECRET}\nx: y")
    with pytest.raises(SettingsError) as caught:
        Neuronpedia(tmp_path)
    assert SECRET not in str(caught.value)


def test_a_fault_that_stays_names_the_request_and_what_to_set(server, client):
    server.faults[PATH] = [Fault(429, retry_after="3600"), Fault(404), Fault(400)]
    with pytest.raises(UnavailableError, match=r"asks to wait 3600 seconds .*or set explain.mode=bulk"):
        client.feature(ID, 3)
    assert client.feature(ID, 3) is None
    with pytest.raises(UnavailableError, match=f"{PATH}.*check explain.api_url"):
        client.feature(ID, 3)
    server.faults["/"] = [Fault(403)]
    with pytest.raises(UnavailableError, match=r"check explain\.bulk_url"):
        client.explained_features(NEURONPEDIA_ID)


@pytest.mark.parametrize("body", [b"[]", b'{"cut": '])
def test_an_answer_of_the_api_that_is_no_object_is_damaged(server, client, body):
    server.faults[PATH] = [Fault(200, body)] * 9
    with pytest.raises(DamagedFileError, match="damaged"):
        client.feature(ID, 3)


@pytest.mark.parametrize("text", ["", "gemma", "/6-res", "gemma/", "a/b/c", "a/b c"])
def test_an_id_that_is_not_model_and_source_is_refused(text):
    with pytest.raises(InputError, match="not a Neuronpedia id"):
        SourceId.parse(text)


def test_indices_may_be_numbers_or_text_and_rows_of_other_sources_are_left_out():
    assert (
        explanation_from(explanation(4, "x"), ID).feature_id == explanation_from(explanation("4", "x"), ID).feature_id
    )
    for row in (
        explanation(4, "x", modelId="other"),
        explanation(4, "x", layer="5-tiny-res-16k"),
        explanation("no", "x"),
        explanation(-1, "x"),
        explanation(None, "x"),
        explanation(4, "  "),
        explanation(4, None),
    ):
        assert explanation_from(row, ID) is None
    assert feature_from({"index": "x"}, ID) is None


def test_duplicates_are_one_and_several_kinds_of_explanation_are_kept():
    def read(**changes):
        return explanation_from(explanation(4, changes.pop("text"), **changes), ID)

    old = read(text="old", id="1", createdAt="2024")
    new = read(text="new", id="2", createdAt="2025")
    scored = read(text="scored", id="3", createdAt="2023", scores=[{"value": 0.1}])
    other_kind, other_writer = read(text="kind", typeName="a"), read(text="writer", explanationModelName="z")
    assert [e.description for e in without_duplicates([old, new, other_kind])] == ["kind", "new"]
    assert [e.description for e in without_duplicates([new, scored, old])] == ["scored"]
    assert len(without_duplicates([old, other_kind, other_writer])) == 3
    assert without_duplicates([old, new]) == without_duplicates([new, old])


def test_an_explanation_without_an_id_gets_one_that_depends_on_what_it_says():
    row = explanation(4, "x")
    del row["id"]
    first, same = explanation_from(row, ID), explanation_from(dict(row), ID)
    assert first.explanation_id == same.explanation_id != explanation_from(row | {"typeName": "k"}, ID).explanation_id
    assert len(first.explanation_id) == 16


def test_odd_scores_and_broken_text_do_not_spoil_a_row():
    scores = json.loads('[{"value": NaN}, {"value": null}, {}, {"value": 0.25}]')
    item = explanation_from(explanation(1, "half \ud83d pair", scores=scores), ID)
    assert (item.score, item.description) == (0.25, "half ? pair")
    assert explanation_from(explanation(1, "x", scores=None), ID).score is None
