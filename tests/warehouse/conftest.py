"""A warehouse in a temporary folder, and small collections in it."""

from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from ato.residuals import ResidualBlock
from warehouse.datasets.stored_source import write_block
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
N_FOLDS = 3
SPLITS = [("train", 0), ("train", 1), ("train", 2), ("val", None), ("test", None)]


@pytest.fixture
def store(tmp_path):
    """An empty warehouse."""
    return Warehouse(tmp_path / "warehouse")


@pytest.fixture
def training_rows():
    """Rows of ``sae_training`` as columns."""

    def make(n=3, **changes):
        rows = {
            "architecture": ["topk"] * n,
            "step": np.arange(n),
            "tokens": np.arange(n) * 64,
            "mse": np.linspace(0.5, 1, n),
            "fvu": [0.25] * n,
            "l0": torch.full((n,), 8.0),
            "dead_share": [0.0] * n,
            "lr": [1e-3] * n,
            "n_resampled": [0] * n,
            "fvu_held_out": [None] * n,
        }
        return rows | changes

    return make


@pytest.fixture
def commit_files():
    """Commit files as a stage."""

    def make(warehouse, files, stage="saes", key="saes-1", collection="c", **changes):
        options = {"settings": {"k": 8}, "started_at": NOW, "seconds": 1.5} | changes
        return commit(warehouse, stage, key, collection=collection, files=files, **options)

    return make


def collection_row(d_model, layers):
    """A row of ``collections`` with nothing in it but what readers need."""
    return {
        "model": "m",
        "site": "resid_post",
        "revision": None,
        "weights_hash": "00",
        "corpus": "x",
        "corpus_hash": "00",
        "n_documents": 5,
        "n_sequences": 5,
        "n_tokens": 20,
        "n_kept": 20,
        "dropped_by_reason": {"special_token": 1},
        "skipped_documents": {},
        "n_unread_files": 0,
        "unread_files": [],
        "seq_len": 4,
        "dtype": "float32",
        "d_model": d_model,
        "n_layers": 9,
        "layers": layers,
        "median_norm": [1.0] * len(layers),
        "split_seed": 0,
        "n_folds": N_FOLDS,
        "fewer_tokens_than_dimensions": False,
        "warnings": [],
        "settings": "{}",
        "created_at": NOW,
    }


def write_sequence_rows(warehouse, collection, n):
    """Sequences 0 .. n-1, one a document, that take the splits in turn."""
    splits = [SPLITS[i % len(SPLITS)] for i in range(n)]
    rows = {
        "sequence_id": np.arange(n),
        "document_id": [f"{i:016x}" for i in range(n)],
        "document": np.arange(n) + 100,
        "split": [split for split, _ in splits],
        "fold": [fold for _, fold in splits],
        "start": np.zeros(n, dtype=np.int32),
        "n_tokens": [4] * n,
        "token_ids": [[1, 2, 3, 4]] * n,
        "text": ["abcd"] * n,
    }
    return warehouse.write_rows("sequences", rows, "00000", collection=collection)


def block_of(sequences, layers, d, seed=0):
    """A block of four tokens a sequence, of the given layers, with the groups of ``write_sequence_rows``."""
    sequence_id = np.repeat(np.asarray(sequences), 4)
    n = len(sequence_id)
    generator = torch.Generator().manual_seed(seed)
    return ResidualBlock(
        {layer: torch.randn(n, d, generator=generator) for layer in layers},
        sequence_id=sequence_id.astype(np.int64),
        position=np.tile(np.arange(4, dtype=np.int32), n // 4),
        token_id=np.arange(n, dtype=np.int32),
        document=sequence_id.astype(np.int64) + 100,
        group=(sequence_id % len(SPLITS)).astype(np.int16),
    )


@pytest.fixture
def store_collection(commit_files):
    """Store blocks as a complete collection; returns its files."""

    def make(warehouse, blocks, collection="c", **changes):
        layers, d = list(blocks[0].layers), blocks[0].residuals[blocks[0].layers[0]].shape[1]
        n = 1 + max(int(block.sequence_id.max()) for block in blocks)
        files = [write_sequence_rows(warehouse, collection, n)]
        for shard, block in enumerate(blocks):
            files += write_block(warehouse, collection, shard, block)
        rows = [collection_row(d, layers)]
        files.append(warehouse.write_rows("collections", rows, collection, collection=collection))
        commit_files(warehouse, files, "collect", collection, collection, **changes)
        return files

    return make


@pytest.fixture
def make_block():
    """See ``block_of``."""
    return block_of
