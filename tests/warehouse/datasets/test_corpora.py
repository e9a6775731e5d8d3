"""Reading corpora: the same documents in the same order, whatever the files are called; errors that name the place."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ato.errors import CorpusError, DamagedFileError, UnavailableError
from ato.io import embedded
from ato.io.hashing import digest_of
from ato.text.documents import document_id
from warehouse.datasets import corpora
from warehouse.datasets.corpora import corpus_hash, read_documents
from warehouse.datasets.corpus_files import corpus_files

TEXTS = [f"document number {i}\r\nwith a sécond line" for i in range(30)]


def write_txt(folder, texts):
    folder.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(texts):
        (folder / f"{i:02}.txt").write_bytes(text.encode())
    return str(folder)


def write_jsonl(path, texts, field="text"):
    path.write_text("\n".join(json.dumps({field: text, "other": 1}) for text in texts) + "\n\n", encoding="utf-8")
    return str(path)


def write_parquet(path, texts, field="text"):
    pq.write_table(pa.table({"n": list(range(len(texts))), field: texts}), path, row_group_size=7)
    return str(path)


def test_every_format_gives_the_same_documents_and_the_same_hash(tmp_path):
    specs = [
        write_txt(tmp_path / "txt", TEXTS),
        write_jsonl(tmp_path / "a.jsonl", TEXTS),
        write_parquet(tmp_path / "a.parquet", TEXTS),
    ]
    read = [[(d.document_id, d.text) for d in read_documents(spec)] for spec in specs]
    assert read[0] == sorted((document_id(text), text) for text in TEXTS)
    assert read[1] == read[2] == read[0]
    assert len({corpus_hash(spec) for spec in specs}) == 1


def test_names_and_order_of_files_change_nothing(tmp_path):
    forwards, backwards = write_txt(tmp_path / "a", TEXTS), write_txt(tmp_path / "b" / "c", TEXTS[::-1])
    assert [d.document_id for d in read_documents(forwards)] == [d.document_id for d in read_documents(backwards)]
    assert corpus_hash(forwards) == corpus_hash(backwards)
    (tmp_path / "a" / "00.txt").write_text("changed")
    assert corpus_hash(forwards) != corpus_hash(backwards)


def test_a_folder_may_mix_formats_and_a_single_file_is_a_corpus(tmp_path):
    write_txt(tmp_path, TEXTS[:10])
    write_jsonl(tmp_path / "more.jsonl", TEXTS[10:20])
    write_parquet(tmp_path / "most.parquet", TEXTS[20:])
    (tmp_path / "notes.pdf").write_text("not a document")
    assert {d.text for d in read_documents(str(tmp_path))} == set(TEXTS)
    assert [d.text for d in read_documents(str(tmp_path / "03.txt"))] == [TEXTS[3]]


def test_a_corpus_larger_than_memory_allows_comes_in_the_same_order(tmp_path, monkeypatch):
    spec = write_jsonl(tmp_path / "a.jsonl", TEXTS)
    whole = list(read_documents(spec))
    monkeypatch.setattr(corpora, "BUCKET_BYTES", 200)
    assert list(read_documents(spec)) == whole


def test_the_text_field_can_be_named(tmp_path):
    spec = write_jsonl(tmp_path / "a.jsonl", TEXTS, field="body")
    assert len(list(read_documents(spec, text_field="body"))) == 30
    with pytest.raises(CorpusError, match=r"field text.*a\.jsonl, line 1.*body"):
        list(read_documents(spec))
    spec = write_parquet(tmp_path / "a.parquet", TEXTS, field="body")
    assert len(list(read_documents(spec, text_field="body"))) == 30
    with pytest.raises(CorpusError, match=r"field text.*a\.parquet.*body"):
        list(read_documents(spec))


def test_a_file_that_is_not_utf8_is_named_with_the_byte(tmp_path):
    (tmp_path / "ok.txt").write_text("fine")
    (tmp_path / "latin.txt").write_bytes(b"caf" + b"\xe9 noir")
    with pytest.raises(CorpusError, match=r"not UTF-8 \(.*latin\.txt, byte 3\)"):
        list(read_documents(str(tmp_path)))
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(CorpusError, match=r"b\.jsonl, byte 24"):
        list(read_documents(str(tmp_path / "b.jsonl")))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{oops\n', "not valid JSON .*line 2"),
        ("a.jsonl", b"[1, 2]\n", "no text in field text .*line 1"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "not valid Unicode .*line 1"),
        ("a.parquet", b"PAR1 no PAR1", "Parquet file cannot be read"),
        ("a.txt", b" \n", "no text"),
        ("a.pdf", b"%PDF", r"unsupported file type \.pdf"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message) as caught:
        list(read_documents(str(tmp_path / name)))
    assert "\n" not in str(caught.value)


def test_missing_and_empty_corpora_are_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"corpus not found.*use sotu"):
        list(read_documents(str(tmp_path / "nowhere")))
    with pytest.raises(CorpusError, match="no documents in the folder"):
        list(read_documents(str(tmp_path)))
    with pytest.raises(CorpusError, match="corpus not found"):
        corpus_hash(str(tmp_path / "nowhere"))


def test_an_unreachable_hub_is_reported_without_retries(monkeypatch):
    import huggingface_hub

    calls = []

    def unreachable(*args, **kwargs):
        calls.append(args)
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    with pytest.raises(UnavailableError, match="hub cannot be reached"):
        list(read_documents("hub:someone/text"))
    with pytest.raises(UnavailableError, match="hub cannot be reached"):
        corpus_hash("hub:someone/text:config:train")
    assert len(calls) == 2
    with pytest.raises(CorpusError, match="invalid hub dataset"):
        list(read_documents("hub:a:b:c:d"))


def test_a_hub_dataset_is_read_at_the_commit_its_hash_names(monkeypatch):
    import datasets
    import huggingface_hub

    asked = []

    class Info:
        sha = "c0ffee"

    def load_dataset(name, config, *, split, revision, streaming):
        asked.append((name, config, split, revision, streaming))
        return [{"text": text} for text in TEXTS]

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *args, **kwargs: Info)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert [d.text for d in read_documents("hub:someone/text:en")] == TEXTS
    assert asked == [("someone/text", "en", "train", "c0ffee", True)]
    before = corpus_hash("hub:someone/text:en")
    monkeypatch.setattr(Info, "sha", "other")
    assert corpus_hash("hub:someone/text:en") != before


def test_the_embedded_corpus_has_249_speeches_and_a_fixed_hash():
    speeches = list(read_documents("sotu"))
    assert len(speeches) == 249
    assert len({d.document_id for d in speeches}) == 249
    assert sum(len(d.text) for d in speeches) > 10_000_000
    assert corpus_hash("sotu") == corpus_hash(str(embedded.corpus_files()[0].parent))


def test_the_encyclopedia_is_the_extracts_of_the_articles_each_once():
    (path,) = corpus_files("encyclopedia").read
    extracts = [article["extract"] for article in json.loads(path.read_text(encoding="utf-8")).values()]
    documents = list(read_documents("encyclopedia", text_field="whatever"))
    assert len(documents) == 10_033
    assert [(d.document_id, d.text) for d in documents] == sorted((document_id(text), text) for text in extracts)
    assert corpus_hash("encyclopedia") == digest_of(map(document_id, extracts))[:16]
    assert {d.name for d in documents if d.text.startswith("2001: A Space Odyssey is")} == {
        "summaries_en-us.json, 2001: A Space Odyssey"
    }


def test_an_altered_or_missing_encyclopedia_is_refused(monkeypatch):
    own = embedded.FACT_FILES["articles"]
    monkeypatch.setitem(embedded.FACT_FILES, "articles", replace(own, sha256="00"))
    with pytest.raises(DamagedFileError, match="run `make install`"):
        list(read_documents("encyclopedia"))
    monkeypatch.setitem(embedded.FACT_FILES, "articles", replace(own, package="no-such-package"))
    with pytest.raises(UnavailableError, match=r"no-such-package is not installed: run `make install`"):
        corpus_hash(["sotu", "encyclopedia"])


def test_an_altered_embedded_corpus_is_refused(monkeypatch):
    files = embedded.corpus_files()
    monkeypatch.setattr(embedded, "_package_files", lambda *args: files[:-1])
    with pytest.raises(DamagedFileError, match="run `make install`"):
        list(read_documents("sotu"))
    monkeypatch.setattr(embedded, "_package_files", lambda *args: [*files[:-1], __import__("pathlib").Path(__file__)])
    with pytest.raises(DamagedFileError):
        corpus_hash("sotu")


def test_a_changed_corpus_has_another_hash_within_one_process(tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_text("the state of the union is strong")
    before = corpora.corpus_hash(str(file))
    assert corpora.corpus_hash(str(file)) == before
    file.write_text("the state of the union is stronger")
    assert corpora.corpus_hash(str(file)) != before
