"""Corpora as people have them: formats, compression, encodings, paths, nested fields, NULLs; what is not read is named."""

import codecs
import gzip
import json
import tracemalloc
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ato.errors import CorpusError
from warehouse.datasets import corpora, corpus_texts
from warehouse.datasets.corpora import corpus_hash, read_documents
from warehouse.datasets.corpus_files import corpus_files, formats_table, unread_line
from warehouse.datasets.corpus_formats import format_of, suffixes
from warehouse.datasets.corpus_records import FieldReader

TEXTS = [
    "plain",
    'with "quotes", commas;\nand a sécond line',
    "\ttabs\tand\r\nothers",
    "日本語 🙂",
    "line\u2028separator",
]


def texts_of(corpus, field="text", **options):
    return sorted(document.text for document in read_documents(corpus, FieldReader(field, **options)))


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def write(folder, ending, texts=TEXTS):
    """A file of one of the formats that hold several documents."""
    path, rows = folder / f"a{ending}", [{"n": i, "text": text} for i, text in enumerate(texts)]
    delimiter = "\t" if ending == ".tsv" else ","
    written = {
        ".jsonl": lambda: "\n".join(map(json.dumps, rows)).encode(),
        ".ndjson": lambda: "\n".join(map(json.dumps, rows)).encode(),
        ".json": lambda: json.dumps(rows, indent=1, ensure_ascii=False).encode(),
        ".csv": lambda: "".join(f"{a}{delimiter}{b}\n" for a, b in table(texts)).encode(),
        ".tsv": lambda: "".join(f"{a}{delimiter}{b}\n" for a, b in table(texts)).encode(),
    }
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == ".arrow":
        with pa.ipc.new_stream(str(path), (made := pa.Table.from_pylist(rows)).schema) as writer:
            writer.write_table(made)
    else:
        path.write_bytes(written[ending]())
    return path


def table(texts):
    return [("n", "text"), *((i, quoted(text)) for i, text in enumerate(texts))]


RECORDS = [ending for ending in suffixes() if ending not in (".txt", ".md")]


@pytest.mark.parametrize("ending", RECORDS)
def test_every_format_of_records_gives_every_text_as_it_is(tmp_path, ending):
    assert texts_of(str(write(tmp_path, ending))) == sorted(TEXTS)


@pytest.mark.parametrize("compressed", [".gz", ".zst"])
@pytest.mark.parametrize("ending", [e for e in suffixes() if format_of(Path(f"a{e}")).compressible])
def test_compressed_files_give_what_they_hold_whatever_the_case_of_their_names(tmp_path, ending, compressed):
    if ending in (".txt", ".md"):
        data, expected = TEXTS[1].encode(), [TEXTS[1]]
    else:
        data, expected = write(tmp_path, ending).read_bytes(), sorted(TEXTS)
    half = len(data) // 2  # two members one behind the other, as `cat a.gz b.gz` makes them
    pack = gzip.compress if compressed == ".gz" else lambda part: pa.Codec("zstd").compress(part, asbytes=True)
    path = tmp_path / f"B{ending.upper()}{compressed.upper()}"
    path.write_bytes(pack(data[:half]) + pack(data[half:]))
    assert texts_of(str(path)) == expected
    path.write_bytes(pack(data)[:-9])
    with pytest.raises(CorpusError, match=r"cannot be read.*download it again"):
        texts_of(str(path))


@pytest.mark.parametrize("ending", [".txt", ".md", ".jsonl", ".json", ".csv"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, ending):
    path = tmp_path / f"a{ending}" if ending in (".txt", ".md") else write(tmp_path, ending)
    data = path.read_bytes() if path.exists() else b"plain"
    path.write_bytes(data)
    before = texts_of(str(path)), corpus_hash(str(path))
    path.write_bytes(codecs.BOM_UTF8 + data)
    assert (texts_of(str(path)), corpus_hash(str(path))) == before


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".json", ".csv"])
def test_utf16_is_named_with_the_command_that_converts_it(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes('{"text": "a"}'.encode("utf-16"))
    with pytest.raises(CorpusError, match=r"not UTF-8 \(.*byte 0\).*iconv -f UTF-16"):
        texts_of(str(path))


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_a_byte_that_is_no_utf8_is_found_across_chunks(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(corpus_texts, "CHUNK_BYTES", 7)
    data = write(tmp_path, ending).read_bytes()
    path = tmp_path / f"b{ending}"
    path.write_bytes(data)
    assert texts_of(str(path)) == sorted(TEXTS)
    at = data.rindex("日".encode())
    path.write_bytes(data[:at] + b"\xff" + data[at:])
    with pytest.raises(CorpusError, match=f"not UTF-8 .*byte {at}\\)"):
        texts_of(str(path))


def test_lists_patterns_home_capitals_and_links_name_files_each_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "texts" / "deep").mkdir(parents=True)
    for name, text in {"a.txt": "a", "b.TXT": "b", "deep/c.Md": "c"}.items():
        (tmp_path / "texts" / name).write_text(text)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "d.txt").write_text("d")
    assert texts_of("~/texts") == ["a", "b", "c"]
    assert texts_of("~/texts/**/*.[mM]d") == ["c"]
    assert texts_of(["~/texts/*", str(tmp_path / "texts" / "a.txt"), "~/elsewhere/d.txt"]) == ["a", "b", "c", "d"]
    (tmp_path / "texts" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "texts" / "deep" / "back").symlink_to(tmp_path / "texts")  # round and round
    assert texts_of(str(tmp_path / "texts")) == ["a", "b", "c", "d"]
    assert corpus_hash("~/texts") == corpus_hash(["~/elsewhere", "~/texts"])
    with pytest.raises(CorpusError, match="no file matches the pattern"):
        texts_of("~/texts/*.csv")
    with pytest.raises(CorpusError, match=r"corpus not found.*nowhere"):
        texts_of(["~/texts", "~/nowhere"])
    with pytest.raises(CorpusError, match="hub dataset is a corpus by itself"):
        texts_of(["~/texts", "hub:someone/text"])


def test_a_name_with_pattern_characters_is_a_name_if_there_is_such_a_file(tmp_path):
    (tmp_path / "a[1].txt").write_text("bracketed")
    assert texts_of(str(tmp_path / "a[1].txt")) == ["bracketed"]


def test_files_that_no_reader_knows_are_counted_and_named(tmp_path):
    for name in ("a.txt", "b.pdf", "c.PDF", "Makefile", "d.parquet.gz"):
        (tmp_path / name).write_text("x")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    found = corpus_files(str(tmp_path))
    assert [file.name for file in found.read] == ["a.txt"]
    assert {file.name for file in found.unread} == {"b.pdf", "c.PDF", "Makefile", "d.parquet.gz", "gone.txt"}
    line = unread_line(found.unread, shown=2)
    assert line == (
        "5 files of the corpus are not read (2 .pdf, 1 .gz, 1 .txt, 1 without ending): Makefile, b.pdf and 3 more"
    )
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.pdf").write_text("x")
    with pytest.raises(CorpusError, match=r"no documents in the folder: \.pdf cannot be read"):
        texts_of(str(tmp_path / "only"))


def test_a_dataset_that_was_saved_to_disk_is_a_corpus(tmp_path):
    write(tmp_path, ".arrow")
    for name in ("dataset_info.json", "state.json"):
        (tmp_path / name).write_text("{}")
    assert texts_of(str(tmp_path)) == sorted(TEXTS)
    assert {file.name for file in corpus_files(str(tmp_path)).unread} == {"dataset_info.json", "state.json"}


TEXT_TYPES = {
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "string_view": pa.string_view(),
    "large_string": pa.large_string(),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
    "dictionary of binary": pa.dictionary(pa.int8(), pa.binary()),
}


@pytest.mark.parametrize("kind", TEXT_TYPES.values(), ids=TEXT_TYPES)
@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_text_of_every_arrow_type_is_read(tmp_path, kind, ending):
    values = TEXTS if not pa.types.is_dictionary(kind) else TEXTS * 2
    base = kind.value_type if pa.types.is_dictionary(kind) else kind
    raw = base in (pa.binary(), pa.large_binary(), pa.binary_view())
    plain = pa.array([text.encode() for text in values] if raw else values, base)
    column = plain.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else plain
    path = tmp_path / f"a{ending}"
    if ending == ".parquet":
        pq.write_table(pa.table({"text": column}), path)
    else:
        with pa.ipc.new_file(str(path), (made := pa.table({"text": column})).schema) as writer:
            writer.write_table(made)
    assert texts_of(str(path)) == sorted(values)


def test_bytes_that_are_no_text_name_row_and_cure(tmp_path):
    pq.write_table(pa.table({"text": [b"fine", b"\xff"]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"not UTF-8 \(.*a\.parquet, row 1, byte 0\): convert"):
        texts_of(str(tmp_path / "a.parquet"))


NESTED = [
    {
        "a.b": "dotted",
        "meta": {"body": "one", "parts": ["x", "y"]},
        "turns": [{"text": "p"}, {"text": "q"}],
        "n": 1,
        "c.d": {"body": "alpha"},
    },
    {
        "a.b": "names",
        "meta": {"body": "two", "parts": ["z"]},
        "turns": [{"text": "r"}, {"text": "s"}],
        "n": 2,
        "c.d": {"body": "beta"},
    },
]


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet", ".arrow"])
@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("meta.body", ["one", "two"]),
        ("meta.parts", ["x\n\ny", "z"]),
        ("meta.parts.0", ["x", "z"]),
        ("turns.text", ["p\n\nq", "r\n\ns"]),
        ("turns.1.text", ["q", "s"]),
        ("a.b", ["dotted", "names"]),
        ("c.d.body", ["alpha", "beta"]),
    ],
)
def test_a_path_reaches_text_within_structs_and_lists(tmp_path, ending, field, expected):
    path = tmp_path / f"a{ending}"
    if ending in (".parquet", ".arrow"):
        made = pa.Table.from_pylist(NESTED)
        if ending == ".parquet":
            pq.write_table(made, path)
        else:
            with pa.ipc.new_file(str(path), made.schema) as writer:
                writer.write_table(made)
    else:
        path.write_text("\n".join(map(json.dumps, NESTED)))
    assert texts_of(str(path), field) == expected
    with pytest.raises(
        CorpusError, match=r"no text in field meta\.head .*c\.d\.body, meta\.body, meta\.parts, turns\.text"
    ):
        texts_of(str(path), "meta.head")
    with pytest.raises(CorpusError, match=r"no text in field n[, ]"):
        texts_of(str(path), "n")


CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_conversations_go_through_the_chat_template_and_say_so_where_there_is_none(tmp_path, ending):
    path, rows = tmp_path / f"a{ending}", [{"messages": CHAT}, {"messages": [{"role": "user", "content": "again"}]}]
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)))

    def chat(messages):
        return "".join(f"<{message['role']}>{message['content']}" for message in messages)

    assert texts_of(str(path), "messages", chat=chat) == ["<user>again", "<user>hi<assistant>hello"]
    with pytest.raises(CorpusError, match=r"holds conversations, and there is no model.*collect\.text_field"):
        texts_of(str(path), "messages")
    with pytest.raises(CorpusError, match=r"no text in field text.*messages"):
        texts_of(str(path))


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet", ".arrow"])
def test_null_texts_are_counted_and_change_nothing_else(tmp_path, ending):
    path = write(tmp_path, ending, ["a", None, "", None, "b"])
    skipped = Counter()
    assert [d.text for d in read_documents(str(path), skipped=skipped)].count("") == 1
    assert skipped == {"null": 2}
    path = write(tmp_path, ending, [None, None])
    with pytest.raises(CorpusError, match=r"no text: 2 records, all NULL.*collect\.text_field"):
        texts_of(str(path))


def test_nulls_are_counted_once_in_a_corpus_that_is_read_in_several_passes(tmp_path, monkeypatch):
    path = write(tmp_path, ".jsonl", [*TEXTS, None])
    monkeypatch.setattr(corpora, "BUCKET_BYTES", 30)
    skipped = Counter()
    assert len(list(read_documents(str(path), skipped=skipped))) == len(TEXTS)
    assert skipped == {"null": 1}


def test_each_line_of_a_text_may_be_a_document(tmp_path):
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF8 + b"one\r\n\n  \ntwo words\nthree")
    assert texts_of(str(tmp_path / "a.txt"), lines=True) == ["one", "three", "two words"]
    names = {d.text: d.name for d in read_documents(str(tmp_path / "a.txt"), FieldReader(lines=True))}
    assert names["two words"] == "a.txt, line 4"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", 'n,text\n1,"open\n', r"not valid CSV .*line 2.*close the last"),
        ("a.csv", 'n,text\n1,"a"b\n', r"not valid CSV .*line 2"),
        ("a.csv", "n,text\n1,a,b\n", r"a row has 3 cells where 2 are expected .*line 2.*quote cells"),
        ("a.csv", "text,text\n1,a\n", "2 columns are named text"),
        ("a.csv", "n;text\n1;a\n", r"no text in field text .*one of n;text"),
        ("a.json", '[{"text": "a"},\n {"text" "b"}]', r"not valid JSON .*line 2"),
        ("a.json", '[{"text": "a"},\n {"text": "b"}', r"list is not closed.*line 2"),
        ("a.json", '[{"text": "a"}\n {"text": "b"}]', r"',' is missing.*line 2"),
        ("a.json", '{"rows": [{"body": "a"}]}', r"no text in field text .*record 0.*rows\.body"),
        ("a.csv", "n,text\r1,a\r", "a line ends in CR alone .*LF or CRLF"),
        ("a.jsonl", '{"text": 5}', "no text in field text, which holds a number .*line 1"),
        ("a.jsonl", "[" * 100_000, "nested too deeply .*line 1"),
        ("a.arrow", "ARROW1 no", "Arrow file cannot be read"),
    ],
)
def test_a_malformed_file_is_refused_with_the_line_and_a_cure(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=message) as caught:
        texts_of(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_text_that_comes_in_several_files_and_formats_is_one_document(tmp_path):
    for ending in (".jsonl", ".csv", ".parquet"):
        write(tmp_path, ending)
    assert len({d.document_id for d in read_documents(str(tmp_path))}) == len(TEXTS)


@pytest.mark.parametrize("ending", [".json", ".csv", ".jsonl.gz"])
def test_a_file_is_streamed(tmp_path, ending):
    """A corpus of 32 MB is read within a quarter of that."""
    path = tmp_path / f"a{ending}"
    line = {".csv": "x" * 4000}.get(ending, json.dumps({"text": "x" * 4000}))
    lines = [line] * 8000
    text = (
        "[" + ",\n".join(lines) + "]"
        if ending == ".json"
        else "\n".join(["text", *lines] if ending == ".csv" else lines)
    )
    path.write_bytes(gzip.compress(text.encode(), 1) if ending.endswith("gz") else text.encode())
    kind = format_of(path)
    del text, lines
    tracemalloc.start()
    assert sum(1 for _ in kind.documents(path, FieldReader())) == 8000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_existing_corpora_keep_their_hash(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n{"text": ""}\n')
    pq.write_table(pa.table({"text": ["three", None]}), tmp_path / "c.parquet")
    assert corpus_hash(str(tmp_path)) == "a3bc000945c951fa"


def test_the_page_on_text_lists_the_formats():
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    assert formats_table() in page, "`python -m warehouse.datasets.corpus_files` prints the table"
