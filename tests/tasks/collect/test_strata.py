"""The strata of a finished collection: as its corpus has them now, or refused where the text is another."""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime

import pytest

import tests.warehouse.small_warehouse as small
from ato.errors import CorpusError, MismatchError
from tasks.collect.plan import shards_by_split
from tasks.collect.reading import chat_reader, cut_corpus
from tasks.collect.strata import document_strata
from tasks.engine.study import Study
from tasks.settings import CollectSettings, ModelSettings
from tests.flows.tiny_study import tiny_settings
from tests.tiny_models import byte_tokenizer
from warehouse.catalog.catalog import rows
from warehouse.datasets.corpora import corpus_hash
from warehouse.datasets.sequences import write_sequences
from warehouse.datasets.strata import MIN_DOCUMENTS, frequent, strata_of
from warehouse.quality.checks import check_all, failures
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

MODEL = ModelSettings(device="cpu")
KEY = "c-00"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty warehouse, the one of this process."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    return Warehouse()


def write(path, topics):
    """One document of about ten words for each topic: number i begins with i."""
    lines = (json.dumps({"text": f"{i} " + f"{topic} and more " * 5, "topic": topic}) for i, topic in enumerate(topics))
    path.write_text("\n".join(lines))
    return str(path)


def collected(store, corpus, **changes) -> Study:
    """A collection of a corpus as `collect` makes it, but for the model."""
    settings = CollectSettings(corpus=corpus, seq_len=32, min_len=4, n_folds=2, n_tokens=100_000, **changes)
    reader = chat_reader(MODEL, settings)
    cut = list(shards_by_split(cut_corpus(settings, reader, byte_tokenizer(), Counter()), 64))
    files = [write_sequences(store, KEY, number, shard) for number, shard in enumerate(cut)]
    sequences = [one for shard in cut for one in shard]
    n_tokens = sum(len(one.token_ids) for one in sequences)
    row = small.row(
        "collections",
        collection=KEY,
        corpus=str(corpus),
        corpus_hash=corpus_hash(corpus, reader),
        n_documents=len({one.document_id for one in sequences}),
        n_sequences=len(sequences),
        n_tokens=n_tokens,
        n_kept=n_tokens,
        settings=json.dumps(
            settings.model_dump(exclude={"strata"}) | {"model": "m", "layers": [0], "dtype": "float32"}
        ),
    )
    files.append(store.write_rows("collections", [row], KEY, collection=KEY))
    started = datetime(2026, 1, 1, tzinfo=UTC)
    commit(store, "collect", KEY, collection=KEY, files=files, settings={}, seconds=1.0, started_at=started)
    return Study(KEY, MODEL, tuple(settings.strata))


def test_every_document_has_the_topic_of_its_record_and_counts_add_up(store, tmp_path):
    topics = ["arts", "history", None] * 15 + ["rare"] * 2
    study = collected(store, write(tmp_path / "a.jsonl", topics), strata=["topic"])
    key = document_strata.fn(study)
    found = rows(None, "select * from document_strata order by document")
    lines = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    told = {hashlib.sha256(line["text"].encode()).hexdigest()[:16]: line["topic"] for line in lines}
    numbers = rows(None, "select distinct document, document_id from sequences")
    begins = {row["document"]: (row["document_id"], told[row["document_id"]]) for row in numbers}
    assert len(found) == len(topics) == len(begins)
    for row in found:
        document_id, topic = begins[row["document"]]
        own = {"collection": KEY, "strata": key, "document_id": document_id, "stratum": "topic"}
        assert row == own | {
            "document": row["document"],
            "value": topic,
            "reason": None if topic else "missing",
        }
    values = strata_of(study.warehouse, KEY)
    assert values == {"topic": {number: topic for number, (_, topic) in begins.items() if topic}}
    assert values == strata_of(study.warehouse, KEY, key)
    assert set(frequent(values["topic"]).values()) == {"arts", "history"}

    counts = rows(None, "select * from strata_counts where collection = ?", [KEY])
    sizes = rows(
        None, "select document, split, count(*) as n, sum(n_tokens)::int as tokens from sequences group by all"
    )
    for row in counts:
        own = [s for s in sizes if begins[s["document"]][1] == row["value"] and s["split"] == row["split"]]
        assert (row["n_documents"], row["n_sequences"], row["n_tokens"]) == (
            len(own),
            sum(s["n"] for s in own),
            sum(s["tokens"] for s in own),
        )
        assert row["rare"] is (None if row["value"] is None else topics.count(row["value"]) < MIN_DOCUMENTS)
    assert sum(row["n_documents"] for row in counts) == len(topics)
    assert failures(check_all(study.warehouse)) == []


def test_the_same_strata_are_read_once_and_a_mended_label_is_read_anew(store, tmp_path, capsys):
    study = collected(store, write(tmp_path / "a.jsonl", ["x"] * 20), strata=["topic"])
    first = document_strata.fn(study)
    assert document_strata.fn(study) == first
    assert "is complete, skipped" in capsys.readouterr().err
    text = (tmp_path / "a.jsonl").read_text()
    (tmp_path / "a.jsonl").write_text(text.replace('"topic": "x"', '"topic": "y"', 1))
    second = document_strata.fn(study)
    assert second != first
    assert Counter(strata_of(study.warehouse, KEY)["topic"].values()) == {"x": 19, "y": 1}
    assert set(strata_of(study.warehouse, KEY, first)["topic"].values()) == {"x"}
    (both,) = rows(None, "select count(*) as n from document_strata")
    assert both["n"] == 40


def test_a_corpus_whose_text_has_changed_since_is_refused(store, tmp_path):
    path = tmp_path / "a.jsonl"
    study = collected(store, write(path, ["x"] * 20), strata=["topic"])
    path.write_text(path.read_text() + '\n{"text": "one more document", "topic": "x"}')
    with pytest.raises(MismatchError, match=r"no longer the one .*a\.jsonl.*bring back its text") as caught:
        document_strata.fn(study)
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(CorpusError, match="corpus not found"):
        document_strata.fn(study)
    assert rows(None, "select * from document_strata") == []


def test_a_field_that_no_record_has_leaves_nothing_behind(store, tmp_path):
    study = collected(store, write(tmp_path / "a.jsonl", ["x"] * 20), strata=["topic", "subject"])
    with pytest.raises(CorpusError, match="no field subject"):
        document_strata.fn(study)
    assert rows(None, "select * from stage_runs where stage = 'strata'") == []


def test_a_corpus_that_says_nothing_gives_no_rows(store, tmp_path, capsys):
    study = collected(store, write(tmp_path / "a.jsonl", ["x"] * 20))
    key = document_strata.fn(study)
    assert "says nothing about its documents" in " ".join(capsys.readouterr().err.split())
    assert strata_of(study.warehouse, KEY) == strata_of(study.warehouse, KEY, key) == {}
    assert rows(None, "select * from strata_counts") == []


def test_a_document_with_two_topics_is_counted_with_the_reason(store, tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, ["x"] * 20)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, json.dumps(json.loads(lines[0]) | {"topic": "y"})]))
    study = collected(store, str(path), strata=["topic"])
    document_strata.fn(study)
    assert Counter(strata_of(study.warehouse, KEY)["topic"].values()) == {"x": 19}
    counted = rows(None, "select reason, rare, n_documents from strata_counts where value is null")
    assert counted == [{"reason": "several", "rare": None, "n_documents": 1}]


def test_naming_strata_makes_no_other_collection(tmp_path, monkeypatch):
    from tasks.collect.task import _collection_stage

    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    settings = tiny_settings(tmp_path)
    named = tiny_settings(tmp_path, collect={"strata": ["topic", "topic", "year:decade"]})
    keys = {_collection_stage(Warehouse(), s.model, s.collecting, s.layers).key for s in (settings, named)}
    assert len(keys) == 1
    assert named.study("c").strata == ("topic", "year:decade")
    assert settings.study("c").strata == ()
