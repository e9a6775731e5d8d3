"""The stage ``embed`` with the real encoder: planted meaning is found by words that no text has, once, resumed, checked."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from ato.autointerp.meaning import REFERENCE_QUERIES
from ato.autointerp.sentence_encoder import SentenceEncoder
from ato.errors import UnavailableError
from tasks.embed.task import embed_features
from tasks.engine.study import Study
from tasks.settings import EmbedSettings, ModelSettings
from tests.warehouse.small_warehouse import COLLECTION, STARTED, collect_rows, commit_stage, row, write
from warehouse.catalog.catalog import rows
from warehouse.catalog.feature_search import by_meaning, by_words
from warehouse.quality.checks import check_all, failures
from warehouse.storage.manifests import commit, manifests
from warehouse.storage.warehouse import Warehouse

DESCRIPTIONS = {
    0: "doctors and nurses in hospitals",
    1: "football players and teams",
    2: "surgery on patients",
    3: "names of colours",
    4: "treatment of diseases with drugs",
    5: "computer software",
    6: "rivers and lakes",
}
MEDICAL = {0, 2, 4}
MEANING, NONSENSE = "medicine", "perhaps"
CODER, NEURONS = "sae-layer04-aaaa0000", "neurons-L04"


def embed(**settings: Any) -> None:
    """Embed what is in the warehouse of the environment."""
    embed_features.fn(Study(COLLECTION, ModelSettings(), ()), EmbedSettings(**settings))


def write_descriptions(warehouse: Warehouse, sae: str, key: str, hour: int = 2) -> None:
    """Commit a labelling of an SAE: descriptions, four windows and two promoted tokens of each feature."""
    features, windows, described = [], [], []
    for place, (feature, text) in enumerate(DESCRIPTIONS.items(), start=1):
        own = {"sae": sae, "layer": 4, "feature_id": feature, "evidence": f"evidence-{key}"}
        source = "neurons" if sae == NEURONS else "sae"
        features.append(
            row(
                "labelled_features",
                **own,
                source=source,
                place=place,
                promoted=[" qu", " zz"],
                promoted_logits=[2.0, 1.0],
            )
        )
        for number in range(4):
            shown = {
                "window_id": number,
                "rank": number + 1,
                "tokens": ["as", f" seen {number}"],
                "activation": 9.0 - number,
            }
            windows.append(row("example_windows", **own, **shown, kind="top", activations=[9.0, 0.0]))
        described.append(
            row("feature_descriptions", **own, labelling=key, judge="overlap", description=text, chosen=True)
        )
    shared: dict[str, Any] = {
        "collection": COLLECTION,
        "settings": {},
        "seconds": 2.0,
        "started_at": STARTED + timedelta(hours=hour),
    }
    evidence = write(warehouse, {"labelled_features": features, "example_windows": windows}, f"evidence-{key}")
    commit(warehouse, "label_evidence", f"evidence-{key}", files=evidence, **shared)
    commit(warehouse, "label", key, files=write(warehouse, {"feature_descriptions": described}, key), **shared)


@pytest.fixture(scope="module", autouse=True)
def warehouse(tmp_path_factory):
    """A warehouse with the planted descriptions of an SAE and of neurons, embedded."""
    root = tmp_path_factory.mktemp("embed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(root))
        warehouse = Warehouse(root)
        commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
        write_descriptions(warehouse, CODER, "labels-1")
        write_descriptions(warehouse, NEURONS, "labels-2")
        embed()
        yield warehouse


def keys() -> set[str]:
    return {run.key for run in manifests(Warehouse()) if run.stage == "embed"}


@pytest.fixture(scope="module")
def encoder():
    """The real one, loaded once."""
    return SentenceEncoder()


def test_three_features_are_found_by_a_word_that_none_of_their_texts_holds(encoder):
    assert rows(None, by_words(MEANING, COLLECTION)) == []
    (vector,) = encoder.encode([MEANING])
    found = rows(None, by_meaning(vector, encoder.name, COLLECTION, saes=[CODER]))
    assert {one["feature_id"] for one in found[:3]} == MEDICAL
    assert len(found) == len(DESCRIPTIONS)
    assert found[2]["p"] < 0.1
    assert {one["kind"] for one in found[:3]} == {"description"}


def test_a_query_without_a_meaning_finds_no_more_than_unrelated_ones(encoder):
    (vector,) = encoder.encode([NONSENSE])
    (best,) = rows(None, by_meaning(vector, encoder.name, COLLECTION, shown=1))
    assert best["p"] > 0.1
    assert best["n_queries"] == len(REFERENCE_QUERIES)


def test_stored_vectors_and_nulls_are_those_of_the_encoder_and_pass_every_check(encoder):
    found = rows(None, "from feature_embeddings where kind = 'description' and sae = ?", [CODER])
    vectors = encoder.encode([one["text"] for one in found])
    np.testing.assert_allclose([one["vector"] for one in found], vectors, atol=1e-5)
    queries = dict(zip(REFERENCE_QUERIES, encoder.encode(REFERENCE_QUERIES), strict=True))
    for one in rows(None, "from embedding_nulls where kind = 'description' and sae = ?", [CODER]):
        assert one["similarity"] == pytest.approx(max(vectors @ queries[one["query"]]), abs=1e-5)
    own = [
        found
        for found in failures(check_all(Warehouse()))
        if found["table_name"].startswith(("feature_emb", "embedding"))
    ]
    assert own == []


def test_examples_are_the_strongest_and_what_is_embedded_is_skipped(monkeypatch):
    found = rows(
        None, "select * from feature_embeddings where kind = 'example' and feature_id = 0 and sae = ?", [NEURONS]
    )
    assert [(one["number"], one["text"]) for one in found] == [(n + 1, f"as seen {n}") for n in range(3)]
    monkeypatch.setattr("ato.autointerp.sentence_encoder.SentenceEncoder", lambda: pytest.fail("nothing is left"))
    before = keys()
    embed()
    assert keys() == before
    assert len(before) == 6


def test_other_settings_and_a_new_labelling_embed_what_is_new_and_no_more(monkeypatch, warehouse):
    before = keys()
    embed(kinds=["example"], n_examples=2)
    assert {key.rpartition("-")[0] for key in keys() - before} == {
        f"embed-example-{sae}".lower() for sae in (CODER, NEURONS)
    }
    monkeypatch.setitem(DESCRIPTIONS, 6, "mountains")
    write_descriptions(warehouse, CODER, "labels-1b", hour=3)
    before = keys()
    embed(kinds=["description"])
    assert len(keys() - before) == 1
    texts = rows(
        None,
        """select text from feature_embeddings
        semi join (from latest_embeddings where is_latest) using (collection, embedding)
        where feature_id = 6 and kind = 'description' and sae = ?""",
        [CODER],
    )
    assert [one["text"] for one in texts] == ["mountains"]


def test_an_sae_that_was_embedded_before_the_end_is_not_embedded_again(monkeypatch, tmp_path):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    write_descriptions(warehouse, CODER, "labels-1")
    write_descriptions(warehouse, NEURONS, "labels-2")
    asked: list[str] = []

    class Dies:
        name, limit = "dies", 1000

        def encode(self, texts):
            if (left := self.limit - len(asked)) < len(texts):
                raise MemoryError(left)
            asked.extend(texts)
            return np.tile(np.eye(1, 384, dtype=np.float32), (len(texts), 1))

    monkeypatch.setattr("ato.autointerp.sentence_encoder.SentenceEncoder", Dies)
    of_one = len(DESCRIPTIONS) + 4 + 1 + 3 * len(REFERENCE_QUERIES)  # descriptions, windows and tokens, each text once
    Dies.limit = of_one + 20
    with pytest.raises(MemoryError):
        embed(n_examples=4)
    assert len(keys()) == 3
    Dies.limit, n_before = 10_000, len(asked)
    embed(n_examples=4)
    assert len(keys()) == 6
    assert len(asked) - n_before == of_one


def test_without_texts_a_line_says_what_to_run_and_without_the_encoder_how_to_get_it(
    monkeypatch, tmp_path, capsys, warehouse
):
    monkeypatch.setattr("ato.autointerp.sentence_encoder.PACKAGE", "no-such-package")
    with pytest.raises(UnavailableError, match=r"no-such-package is not installed.*pip install"):
        embed(n_examples=1)
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    commit_stage(Warehouse(tmp_path), "collect", write(Warehouse(tmp_path), collect_rows()))
    embed()
    assert "run `ato run features` or `ato run label`" in capsys.readouterr().err
