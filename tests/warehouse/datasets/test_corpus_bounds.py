"""No document, line, row or record is held beyond a bound, however well it is compressed; and passes hold no more than theirs."""

import gzip
import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ato.errors import CorpusError
from warehouse.datasets import corpora, corpus_records, corpus_tables, corpus_texts
from warehouse.datasets.corpora import read_documents

BOMBS = {
    "a.txt.gz": (b"x" * 9000, r"the file is longer than .*a\.txt\.gz\).*one_document_per_line"),
    "a.jsonl.gz": (b'{"text": "a"}\n{"text": "' + b"x" * 9000, r"a line is longer than .*line 2\)"),
    "string.json.gz": (b'[{"text": "' + b"x" * 90_000, r"a record is longer than .*line 1\)"),
    "lists.json.gz": (b'[{"text": [' + b'"x",' * 30_000, r"a record is longer than .*line 1\)"),
    "cell.csv.gz": (b'text\n"' + b"x" * 9000, r"a row is longer than .*close the quotes"),
    "lines.csv.gz": (b'text\n"' + b"x\n" * 9000, r"a row is longer than "),
    "cells.csv.gz": (b"text\n" + b"," * 9000, r"a row is longer than "),
}


@pytest.fixture
def narrow(monkeypatch):
    """Bounds of a few thousand bytes."""
    monkeypatch.setattr(corpus_records, "MOST_BYTES", 4096, raising=False)
    monkeypatch.setattr(corpus_texts, "CHUNK_BYTES", 1024)


@pytest.mark.parametrize("name", BOMBS)
def test_what_expands_beyond_the_bound_is_one_line(tmp_path, narrow, name):
    content, says = BOMBS[name]
    (tmp_path / name).write_bytes(gzip.compress(content))
    with pytest.raises(CorpusError, match=says) as caught:
        list(read_documents(str(tmp_path / name)))
    assert "\n" not in str(caught.value)


def test_a_text_of_a_column_is_bounded_too_and_long_ones_come_in_small_batches(tmp_path, narrow):
    pq.write_table(pa.table({"text": ["a", "x" * 9000]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"a text is longer than .*row 1\)"):
        list(read_documents(str(tmp_path / "a.parquet")))
    long = pa.table({"text": [f"{i:02d}" + "x" * 2000 for i in range(20)]})
    pq.write_table(long, tmp_path / "b.parquet", use_dictionary=False)
    assert len(list(read_documents(str(tmp_path / "b.parquet")))) == 20
    assert corpus_tables._batch_rows(pq.read_metadata(tmp_path / "b.parquet"), "text") in (1, 2)


def test_documents_that_come_often_are_counted_as_often_in_passes_that_hold_little(tmp_path, monkeypatch):
    lines = [json.dumps({"text": f"text {i % 40}"}) for i in range(200)]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    whole = Counter(document.text for document in read_documents(str(tmp_path / "a.jsonl.gz")))
    held = []
    smallest = corpora._smallest
    monkeypatch.setattr(corpora, "BUCKET_BYTES", 6000)
    monkeypatch.setattr(corpora, "_smallest", lambda *given: held.append(smallest(*given)) or held[-1])
    found = [document.document_id for document in read_documents(str(tmp_path / "a.jsonl.gz"))]
    assert found == sorted(found)
    assert whole == Counter({f"text {i}": 5 for i in range(40)})
    assert len(found) == 200
    assert all(sum(one.size for one in members.values()) <= 6000 for members, _ in held)
    assert 4 <= len(held) <= 12


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl.gz"])
def test_other_encodings_are_named_with_a_command_that_converts_them(tmp_path, encoding, name):
    data = '{"text": "plain letters"}\n'.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    converted = {"utf-16": "UTF-16", "utf-32": "UTF-32", "utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE"}[encoding]
    with pytest.raises(CorpusError, match=rf"not UTF-8 .*byte 0\): convert it: iconv -f {converted} -t UTF-8"):
        list(read_documents(str(tmp_path / name)))
