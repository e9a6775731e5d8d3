"""Searches for features: by meaning as NumPy ranks them, beside the null; by words as their texts have them."""

import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from ato.errors import InputError
from tests.warehouse.embedding_rows import ENCODER, N_RANDOM, OF, D, embedded_rows, null_rows, unit, write_embeddings
from tests.warehouse.label_rows import DESCRIPTIONS, write_labelling
from tests.warehouse.small_warehouse import COLLECTION, SAE, STARTED, build, row, write
from warehouse.catalog.catalog import connect
from warehouse.catalog.feature_search import by_meaning, by_words
from warehouse.catalog.query import run_select
from warehouse.quality.checks import check_stages, failures
from warehouse.storage.manifests import commit, manifests
from warehouse.storage.warehouse import Warehouse

QUERY = np.pad(unit(np.random.default_rng(5).standard_normal(N_RANDOM)), (0, D - N_RANDOM))
SAES = sorted(OF)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The small warehouse with labels and embeddings."""
    warehouse = build(tmp_path_factory.mktemp("search"))
    write_labelling(warehouse)
    write_embeddings(warehouse)
    old = [one | {"embedding": "old", "similarity": 1.0} for one in null_rows(OF) if one["kind"] == "tokens"]
    best = [
        one | {"embedding": "old", "vector": QUERY.tolist()} for one in embedded_rows(OF) if one["kind"] == "tokens"
    ]
    files = write(warehouse, {"feature_embeddings": best, "embedding_nulls": old}, "old")
    before: dict[str, Any] = {"started_at": STARTED + timedelta(hours=3), "seconds": 2.0, "settings": {}}
    commit(warehouse, "embed", "old", collection=COLLECTION, files=files, **before)
    return warehouse


@pytest.fixture(scope="module")
def asked(root):
    """The rows of a statement, as a page or a person asks for them."""
    with connect(root) as connection:
        yield lambda sql: run_select(connection, sql).pl().to_dicts()


def expected(saes: list[str]) -> list[tuple[float, int, str, int]]:
    """(- similarity, layer, SAE, feature), the most similar first, by brute force."""
    best: dict[tuple[int, str, int], float] = {}
    for one in embedded_rows(OF):
        if one["sae"] in saes:
            key = (one["layer"], one["sae"], one["feature_id"])
            best[key] = max(best.get(key, -1), float(np.float64(one["vector"]) @ QUERY))
    return sorted((-round(value, 4), *key) for key, value in best.items())


@pytest.mark.parametrize("saes", [SAES, SAES[:1]], ids=["all", "one"])
def test_features_are_ranked_by_their_most_similar_text_and_ties_by_their_number(asked, saes):
    found = asked(by_meaning(QUERY, ENCODER, COLLECTION, saes=saes if len(saes) == 1 else ()))
    assert [(-round(one["similarity"], 4), one["layer"], one["sae"], one["feature_id"]) for one in found] == expected(
        saes
    )
    first = [one["feature_id"] for one in found if one["feature_id"] in (0, 1) and one["sae"] == saes[0]]
    assert first == [0, 1], "their texts are equal"
    n = len(found)
    assert {one["n_found"] for one in found} == {n}
    for one in found:
        below = sum(other["similarity"] < one["similarity"] for other in found)
        assert one["quantile"] == pytest.approx(below / n)


@pytest.mark.parametrize("layer", [None, 2])
def test_p_counts_the_unrelated_queries_whose_best_match_is_as_similar(asked, layer):
    best: dict[str, float] = {}
    for one in null_rows(OF):
        if layer in (None, one["layer"]):
            best[one["query"]] = max(best.get(one["query"], -1), one["similarity"])
    for one in asked(by_meaning(QUERY, ENCODER, COLLECTION, layer=layer)):
        as_good = sum(value >= one["similarity"] for value in best.values())
        assert one["p"] == pytest.approx((1 + as_good) / (1 + len(best)))
        assert one["unrelated_high"] == pytest.approx(np.quantile(list(best.values()), 0.95))
        assert one["n_queries"] == len(best)


def test_fewer_rows_have_the_same_numbers_and_another_encoder_has_none(asked):
    whole = asked(by_meaning(QUERY, ENCODER, COLLECTION))
    assert asked(by_meaning(QUERY, ENCODER, COLLECTION, shown=3)) == whole[:3]
    assert asked(by_meaning(QUERY, "another", COLLECTION)) == []
    assert asked(by_meaning(QUERY, ENCODER, "it's another")) == []


def test_words_are_found_in_one_text_whatever_their_case_and_a_number_is_an_id_too(asked):
    found = asked(by_words("YEARS 1862", COLLECTION))
    assert [(one["feature_id"], one["kind"], one["text"]) for one in found] == [(3, "description", DESCRIPTIONS[3])]
    assert {one["kind"] for one in asked(by_words("union states", COLLECTION))} == {"tokens"}
    assert [one["kind"] for one in asked(by_words("3", COLLECTION))] == ["id"]
    assert asked(by_words("it's", COLLECTION)) == []
    assert asked(by_words("union", COLLECTION, layer=2)) == asked(by_words("union", COLLECTION, saes=["x"])) == []
    with pytest.raises(InputError, match="nothing to search for"):
        by_words("  ", COLLECTION)


def test_texts_of_a_labelled_feature_are_those_of_its_labelling_and_of_others_those_of_their_scores(asked):
    texts = asked("from feature_texts")
    of = {(one["feature_id"], one["kind"], one["source"]) for one in texts if one["sae"] == SAE}
    assert (3, "description", "overlap") in of
    assert (3, "example", "label") in of
    assert (3, "tokens", "label") in of
    for feature, kind, source in of:
        assert not (feature < 5 and kind in ("example", "tokens") and source == "features"), "they have labels"
    numbers = [one["number"] for one in texts if (one["feature_id"], one["kind"]) == (3, "example")]
    assert numbers == list(range(1, len(numbers) + 1))
    made_by = {one["made_by"] for one in texts if one["kind"] == "tokens"}
    assert made_by == {"evidence-1"}


def test_planted_embeddings_pass_every_check_and_longer_vectors_do_not(root, tmp_path):
    for run in manifests(root):
        if run.stage == "embed" and run.key != "old":
            assert failures(check_stages(root, [(run.stage, run.key)], run.collection, run.files)) == []
    warehouse = Warehouse(tmp_path)
    own = row("feature_embeddings", layer=4, number=1, vector=[1.0, 1.0], embedding="e")
    files = write(warehouse, {"feature_embeddings": [own]}, "e")
    found = failures(check_stages(warehouse, [("embed", "e")], COLLECTION, files))
    assert "vectors have length 1" in {one["expectation"] for one in found}


def test_whole_words_come_before_parts_of_words_and_a_feature_is_found_by_its_full_name(asked):
    found = asked(by_words("state", COLLECTION))
    whole = [re.search(r"\bstate\b", one["text"].lower()) is not None for one in found]
    assert whole == sorted(whole, reverse=True)
    for name in (f"{SAE}/3", "4/3", "L4/3"):
        assert [(one["sae"], one["feature_id"], one["kind"]) for one in asked(by_words(name, COLLECTION))] == [
            (SAE, 3, "id")
        ]
    assert asked(by_words("9/3", COLLECTION)) == []
    assert asked(by_words("it's (a", COLLECTION)) == []
