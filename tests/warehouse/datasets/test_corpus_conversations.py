"""Conversations of two layouts are read alike: role and content, from and value; parts of text; what is none is refused."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ato.errors import CorpusError
from warehouse.datasets.corpora import read_documents
from warehouse.datasets.corpus_records import FieldReader

SHARED = [{"from": "system", "value": "s"}, {"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
OPEN = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
]
PARTS = [
    message | {"content": [{"type": "text", "text": part} for part in message["content"].split()]} for message in OPEN
]


def texts(path, field="conversations"):
    def chat(messages):
        return "".join(f"<{message['role']}>{message['content']}" for message in messages)

    return [document.text for document in read_documents(str(path), FieldReader(field, chat))]


def written(folder, ending, talk):
    path, row = folder / f"a{ending}", {"id": "x", "conversations": talk}
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        path.write_text(json.dumps(row))
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("talk", [SHARED, OPEN, PARTS], ids=["sharegpt", "role and content", "parts of text"])
def test_every_layout_of_a_conversation_is_the_same_text(tmp_path, ending, talk):
    assert texts(written(tmp_path, ending, talk)) == ["<system>s<user>hi<assistant>hello"]
    with pytest.raises(CorpusError, match=r"set collect\.text_field to one of conversations, id"):
        texts(tmp_path / f"a{ending}", "text")


@pytest.mark.parametrize(
    ("talk", "says"),
    [
        ([{"from": "Bing", "value": "x"}], "a message is from 'Bing' .*line 1.*rename it to one of human"),
        ([{"from": None, "value": "x"}], "a message is from 'None'"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "a part of type 'image_url'"),
        ([{"role": "user", "content": [{"type": "text"}]}], "a part of type 'text', which is no text"),
    ],
)
def test_a_speaker_that_is_not_known_and_a_part_that_is_no_text_are_refused(tmp_path, talk, says):
    with pytest.raises(CorpusError, match=says) as caught:
        texts(written(tmp_path, ".jsonl", talk))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_a_record_that_is_a_text_or_a_conversation_itself_is_read(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_text("\n".join(map(json.dumps, ["plain", SHARED])) if ending == ".jsonl" else json.dumps(["plain", "b"]))
    expected = ["<system>s<user>hi<assistant>hello", "plain"] if ending == ".jsonl" else ["b", "plain"]
    assert sorted(texts(path)) == expected
