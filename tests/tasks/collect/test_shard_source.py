"""Shards: one split each, in the order of the stream, nothing lost; attention and sites, stored, replayed and live."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from weakref import ref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ato.errors import LayerError, SettingsError
from ato.models import LanguageModel, bos, load_model
from ato.numerics.evenly import evenly_spaced
from ato.residuals import ResidualBlock, run_pass
from ato.text import TokenSequence
from tasks.collect.plan import CollectionPlan, shards_by_split
from tasks.collect.shard_source import CollectingSource, facts_of, files_of
from tasks.collect.sources import residual_source
from tasks.engine.model_cache import model_replicas
from tasks.engine.study import Study
from tasks.settings import CollectSettings, ModelSettings
from tests.flows.tiny_study import write_corpus
from tests.tiny_models import save_tiny_model
from warehouse.catalog.lookups import collection_row
from warehouse.datasets.stored_source import StoredSource
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse


def sequence(number: int, split: str) -> TokenSequence:
    fold = 0 if split == "train" else None
    return TokenSequence(number, f"{number:016x}", number, split, fold, 0, np.zeros(3, dtype=np.int32), "")


@given(st.lists(st.sampled_from(["train", "val", "test"]), max_size=60), st.integers(1, 9))
def test_every_sequence_is_in_one_shard_of_its_split_and_numbered_in_order(splits, size):
    stream = [sequence(i, split) for i, split in enumerate(splits)]
    shards = list(shards_by_split(iter(stream), size))
    assert all(len({s.split for s in shard}) == 1 and len(shard) <= size for shard in shards)
    assert [s.sequence_id for shard in shards for s in shard] == list(range(len(stream)))
    assert sorted(s.document for shard in shards for s in shard) == list(range(len(stream)))
    for split in set(splits):
        documents = [s.document for shard in shards for s in shard if s.split == split]
        assert documents == sorted(documents)


@given(st.integers(1, 50), st.integers(1, 60))
def test_spread_takes_distinct_items_over_the_whole_range(n_items, n):
    chosen = evenly_spaced(list(range(n_items)), n)
    assert len(chosen) == min(n, n_items)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 0
    assert n == 1 or chosen[-1] == n_items - 1


LAYERS = (1, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    save_tiny_model(folder / "model")
    write_corpus(folder / "corpus.jsonl", n_documents=40, words=20)
    return folder


@pytest.fixture(scope="module")
def model(folder) -> LanguageModel:
    return load_model(folder / "model", device="cpu", dtype="float32", attention="eager")


def settings(folder, **changes) -> CollectSettings:
    own = {
        "corpus": str(folder / "corpus.jsonl"),
        "n_tokens": 3_000,
        "seq_len": 24,
        "min_len": 8,
        "n_folds": 3,
        "shard_sequences": 8,
        "batch_size": 4,
        "max_norm_multiple": 1.15,
        "attention_layers": [2, 3],
        "attention_top_k": 3,
    }
    return CollectSettings(**own | changes)


def collecting(warehouse, model, own: CollectSettings, replicas=()) -> CollectingSource:
    """The source of a collection with the key c."""
    return CollectingSource(warehouse, "c", model, own, LAYERS, replicas=replicas)


def complete(source: CollectingSource, model, own: CollectSettings) -> dict:
    """Commit a collection after its pass; returns its row."""
    files = files_of(source.plan, source.records)
    row = facts_of(source.plan, source.records, own) | {
        "collection": "c",
        "model": model.identity.model,
        "revision": None,
        "weights_hash": model.identity.weights_hash,
        "corpus": own.corpus,
        "corpus_hash": "00",
        "seq_len": own.seq_len,
        "dtype": "float32",
        "layers": list(LAYERS),
        "split_seed": 0,
        "n_folds": own.n_folds,
        "settings": json.dumps(own.model_dump()),
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    warehouse = source._warehouse
    files.append(warehouse.write_rows("collections", [row], "c", collection="c"))
    commit(
        warehouse,
        "collect",
        "c",
        collection="c",
        files=files,
        settings={},
        seconds=1.0,
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return row


def study_of(warehouse: Warehouse, model: ModelSettings, **changes: object) -> Study:
    """The study of the collection "c" in this warehouse, with these settings in its row."""
    study = Study("c", model)
    row = collection_row(warehouse, "c")
    vars(study).update(warehouse=warehouse, row=replace(row, settings=json.dumps(row.made_with | changes)))
    return study


def assert_equal(found: list, expected: list) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.sequence_id, b.sequence_id)
        np.testing.assert_array_equal(a.position, b.position)
        assert all(torch.equal(a.residuals[layer], b.residuals[layer]) for layer in LAYERS)
        assert a.attended.keys() == b.attended.keys() == {2, 3}
        for layer in (2, 3):
            np.testing.assert_array_equal(a.attended[layer].positions, b.attended[layer].positions)
            np.testing.assert_array_equal(a.attended[layer].weights, b.attended[layer].weights)


def test_stored_attention_is_that_of_the_pass_and_that_of_a_live_source(tmp_path, folder, model):
    warehouse, own = Warehouse(tmp_path), settings(folder)
    source = collecting(warehouse, model, own)
    blocks = list(source.blocks())
    row = complete(source, model, own)
    assert row["dropped_by_reason"]["norm_outlier"] > 100
    assert_equal(list(StoredSource(warehouse, "c", [2, 3]).blocks()), blocks)
    of_test = list(StoredSource(warehouse, "c", [3]).blocks(splits=["test"]))
    assert {int(g) for block in of_test for g in block.group} == {4}
    assert all(block.attended.keys() == {3} for block in of_test)
    assert not any(block.attended for block in StoredSource(warehouse, "c").blocks())

    named = ModelSettings(name=str(folder / "model"), dtype="float32", device="cpu", attention="eager")
    live = residual_source(study_of(warehouse, named, store_activations=False), attention_layers=[2, 3])
    stored = residual_source(study_of(warehouse, named), attention_layers=[2, 3])
    assert isinstance(stored, StoredSource)
    found = [
        {
            (s, p): (block.attended[2].positions[i], block.attended[2].weights[i])
            for block in one.blocks()
            for i, (s, p) in enumerate(zip(block.sequence_id, block.position))
        }
        for one in (stored, live)
    ]
    assert found[0].keys() == found[1].keys()
    for token, (positions, weights) in found[0].items():
        np.testing.assert_array_equal(positions, found[1][token][0])
        np.testing.assert_allclose(weights, found[1][token][1], rtol=1e-4, atol=1e-6)
    with pytest.raises(LayerError, match=r"attention of blocks \[1\] was not collected.*attention_layers=\[1\]"):
        residual_source(study_of(warehouse, named), attention_layers=[1])


def test_a_killed_collection_replays_its_attention_and_runs_what_is_missing_again(tmp_path, folder, model):
    warehouse, own = Warehouse(tmp_path), settings(folder)
    first = collecting(warehouse, model, own)
    blocks = list(first.blocks())
    replayed = collecting(warehouse, model, own)
    assert_equal(list(replayed.blocks()), blocks)
    assert replayed.tokens_run == 0
    (tmp_path / "attended/collection=c/layer=3/part-00001.parquet").unlink()
    mended = collecting(warehouse, model, own)
    assert_equal(list(mended.blocks()), blocks)
    assert 0 < mended.tokens_run < first.tokens_run / 2
    files = files_of(mended.plan, mended.records)
    assert sum(file.table_name == "attended" for file in files) == 2 * len(blocks)


def test_a_shard_is_written_and_let_go_before_the_next_one_is_run(tmp_path, folder, model):
    earlier, seen = [], 0

    def check(block: ResidualBlock) -> None:
        nonlocal seen
        assert [reference() for reference in earlier] == [None] * seen, "two shards are in memory"
        earlier.append(ref(block))
        seen += 1

    run_pass(collecting(Warehouse(tmp_path), model, settings(folder, attention_layers=[])), [], on_block=check)
    assert seen > 2


def test_two_replicas_store_the_same_bytes_in_the_same_order_as_one_model(tmp_path, folder, model):
    own = settings(folder, attention_layers=[], batch_size=2)
    replicas = model_replicas(
        ModelSettings(name=str(folder / "model"), dtype="float32", device="cpu,cpu", attention="eager")
    )
    assert len(replicas) == 1
    blocks, records = [], []
    for name, further in (("one", []), ("two", replicas)):
        source = collecting(Warehouse(tmp_path / name), model, own, further)
        blocks.append(list(source.blocks()))
        records.append((source.plan, source.records, source.tokens_run))
    assert len(blocks[0]) > 4
    assert records[0] == records[1]  # of every file the SHA-256, too
    for a, b in zip(*blocks, strict=True):
        assert all(torch.equal(a.residuals[layer], b.residuals[layer]) for layer in LAYERS)
        np.testing.assert_array_equal(a.sequence_id, b.sequence_id)


def test_a_collection_records_its_site_and_the_width_there(tmp_path, folder, model):
    own = settings(folder, site="mlp_out", attention_layers=[], max_norm_multiple=None)
    source = collecting(Warehouse(tmp_path), model, own)
    block, *_ = source.blocks()
    assert not block.attended
    row = complete(source, model, own)
    assert (row["site"], row["d_model"]) == ("mlp_out", 32)
    named = ModelSettings(name=str(folder / "model"), dtype="float32", device="cpu", attention="eager")
    live = next(residual_source(study_of(Warehouse(tmp_path), named, store_activations=False)).blocks())
    stored = ResidualBlock.join(list(StoredSource(Warehouse(tmp_path), "c").blocks()))
    at = np.flatnonzero((stored.sequence_id == live.sequence_id[0]) & (stored.position == live.position[0]))
    torch.testing.assert_close(live.residuals[3][:1], stored.residuals[3][at], rtol=1e-3, atol=1e-5)
    plain = collecting(Warehouse(tmp_path / "other"), model, settings(folder, max_norm_multiple=None))
    assert not torch.allclose(next(plain.blocks()).residuals[1], block.residuals[1])


def test_attention_without_eager_stops_a_collection_before_it_writes_anything(tmp_path, folder):
    model = load_model(folder / "model", device="cpu", dtype="float32")
    with pytest.raises(SettingsError, match=r"--set model\.attention=eager"):
        collecting(Warehouse(tmp_path), model, settings(folder))
    assert not list(tmp_path.iterdir())
    with pytest.raises(LayerError, match=r"the model has no layers \[9\]"):
        collecting(Warehouse(tmp_path), model, settings(folder, attention_layers=[9]))


def test_a_model_that_needs_bos_is_warned_of_once_and_the_warning_is_kept(folder, model, tmp_path, monkeypatch, capsys):
    plain, warehouse = bos.bos_effect, Warehouse(tmp_path)
    monkeypatch.setattr(bos, "bos_effect", lambda *args: replace(plain(*args), by_default=True))
    source = collecting(warehouse, model, settings(folder))
    said = capsys.readouterr()
    assert (said.out + said.err).count("prepend_bos is off") == 1
    (warning,) = source.plan.warnings
    assert "loss" in warning
    for _ in source.blocks():
        pass
    assert facts_of(source.plan, source.records, settings(folder))["warnings"] == [warning]
    source.plan.save(warehouse, "c")
    assert CollectionPlan.load(warehouse, "c").warnings == [warning]
    assert complete(source, model, settings(folder))["warnings"] == [warning]
    assert collecting(warehouse, model, settings(folder, prepend_bos=True)).plan.warnings == []
