"""Answers about features that mean harm: rows are left out or made harmless, and nothing ends in a traceback."""

import gzip
import json

import pytest

from ato.errors import DamagedFileError, UnavailableError
from ato.neuronpedia import bulk
from ato.neuronpedia.bulk import _check_lines, _parse_listing
from ato.neuronpedia.client import Neuronpedia
from ato.neuronpedia.records import SourceId, explanation_from, feature_from
from tests.neuronpedia_server import MODEL, NEURONPEDIA_ID, SOURCE, NeuronpediaServer, explanation, feature

ID = SourceId(MODEL, SOURCE)


@pytest.mark.parametrize(
    "index",
    [10**400, 2**40, "9" * 400, "1e3", float("nan"), float("inf"), None, [], {}, -1],
    ids=lambda index: repr(index)[:20],
)
def test_a_number_that_is_no_feature_is_left_out(index):
    assert explanation_from(explanation(index, "text"), ID) is None
    assert feature_from({"index": index, "pos_str": ["a"]}, ID) is None


@pytest.mark.parametrize(
    "value", [10**400, float("nan"), float("inf"), "1", None, [], True], ids=lambda value: repr(value)[:20]
)
def test_what_is_no_score_counts_as_none(value):
    found = explanation_from(explanation(1, "text", scores=[{"value": value}]), ID)
    assert found is not None
    assert found.score is None


@pytest.mark.parametrize("scores", [3, "abc", {"value": 1}, [3], ["x"], [None]])
def test_scores_and_explanations_of_another_shape_are_left_out(scores):
    assert explanation_from(explanation(1, "text", scores=scores), ID).score is None
    assert feature_from({"index": 1, "explanations": scores}, ID).explanations == ()


def test_halves_of_surrogate_pairs_do_not_reach_the_tables():
    assert explanation_from(explanation(1, "half \ud800", typeName="\udc00t"), ID).description == "half ?"
    top = feature_from({"index": 1, "pos_str": ["a\ud800", "b", 3]}, ID).top_tokens
    assert top == ("a?", "b", "3")
    "".join(top).encode()


def test_a_file_that_unpacks_without_end_is_damaged(monkeypatch):
    monkeypatch.setattr(bulk, "LONGEST_LINE", 1000)
    with pytest.raises(ValueError, match="bytes a line"):
        _check_lines(gzip.compress(b"0" * 100_000))
    monkeypatch.setattr(bulk, "LARGEST_FILE", 5000)
    with pytest.raises(ValueError, match="in all"):
        _check_lines(gzip.compress(b"{}\n" * 5000))


def test_a_listing_that_declares_entities_or_never_ends_is_refused(tmp_path, monkeypatch):
    laughs = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><ListBucketResult>&b;</ListBucketResult>'
    with pytest.raises(ValueError, match="entities"):
        _parse_listing(laughs)
    monkeypatch.setattr(bulk, "MOST_PAGES", 3)
    page = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
    monkeypatch.setattr("ato.io.http_client.HttpClient.fetch", lambda *_, **__: page.encode())
    with Neuronpedia(tmp_path) as client, pytest.raises(UnavailableError, match="does not end"):
        client.explained_features(NEURONPEDIA_ID)


def test_a_line_nested_without_end_is_a_damaged_file_and_says_which(tmp_path):
    key = f"v1/{NEURONPEDIA_ID}/explanations/batch-0.jsonl.gz"
    with NeuronpediaServer() as server:
        server.files[key] = gzip.compress(b"[" * 100_000)
        options = {"max_attempts": 1, "api_url": server.url, "bulk_url": server.url}
        with Neuronpedia(tmp_path, **options) as client, pytest.raises(DamagedFileError, match="batch-0"):
            client.explained_features(NEURONPEDIA_ID)
        server.files[key] = gzip.compress(json.dumps(explanation(3, "fine")).encode())
        server.files[key.replace("explanations", "features")] = gzip.compress(json.dumps(feature(3, ["a"])).encode())
        with Neuronpedia(tmp_path, **options) as client:
            assert [f.feature_id for f in client.explained_features(NEURONPEDIA_ID)] == [3]
