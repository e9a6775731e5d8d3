"""Files of a shard's layers: the same bytes as the encoder of Parquet gives each by itself."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.datasets import activations
from warehouse.datasets.activations import ShardEncoder
from warehouse.datasets.plain_residuals import WIDTH
from warehouse.storage.parquet import to_table, write_parquet
from warehouse.tables import TABLES


def shard(n: int, d: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Keys, norms and residuals of n tokens."""
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    token = np.arange(n)
    keys = {
        "sequence_id": token // 7,
        "position": (token % 7).astype(np.int32),
        "token_id": token.astype(np.int32),
    }
    return keys, np.linalg.norm(x, axis=1), x


def by_arrow(keys, norm, x) -> bytes:
    data = to_table(TABLES["activations"], keys | {"norm": norm, "residual": x}, {"collection": "c", "layer": 1})
    stream = pa.BufferOutputStream()
    mark = {WIDTH: str(x.shape[1])}
    write_parquet(TABLES["activations"], data.replace_schema_metadata(mark), stream)
    return stream.getvalue().to_pybytes()


@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 3), (700, 33), (3000, 64)])
def test_every_layer_has_the_bytes_that_arrow_gives_it(n, d):
    keys, norm, x = shard(n, d, 0)
    encoder = ShardEncoder(keys, norm, x)
    _, other_norm, other = shard(n, d, 1)
    for values in ((norm, x), (other_norm, other)):
        assert b"".join(map(bytes, encoder.parts(*values))) == by_arrow(keys, *values)
    assert len(encoder.parts(norm, x)) == 5


def test_a_layout_in_several_pages_is_left_to_arrow(monkeypatch):
    def paged(table, data, path):
        pq.write_table(data, path, compression="none", use_dictionary=False, data_page_size=64, write_batch_size=8)

    monkeypatch.setattr(activations, "write_parquet", paged)
    keys, norm, x = shard(200, 8, 0)
    (file,) = ShardEncoder(keys, norm, x).parts(norm, x)
    found = pq.read_table(pa.BufferReader(file))
    np.testing.assert_array_equal(np.stack(found["residual"].to_numpy()), x)
    assert WIDTH not in (pq.read_metadata(pa.BufferReader(file)).metadata or {})
