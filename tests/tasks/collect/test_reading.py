"""A collection of text as people have it: conversations, several files, what is left out; refused before a model is loaded."""

import json
import shutil

import pytest

from ato.errors import CorpusError, SettingsError
from tasks.collect.task import collect_residuals
from tests.flows.tiny_study import WORDS, tiny_settings
from tests.tiny_models import byte_tokenizer
from warehouse.catalog.catalog import rows

TEMPLATE = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a tiny model without a chat template, and a warehouse of its own."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    tiny_settings(tmp_path)
    return tmp_path


def collect(settings) -> str:
    return collect_residuals.fn(settings.model, settings.collecting, settings.layers, settings.operators)


def small(folder, **changes):
    own = {"n_tokens": 3_000, "n_folds": 2, "seq_len": 48, "min_len": 8, "max_sequences_per_document": 2}
    operators = {"source_layers": [0], "leaps": [1], "train_fractions": [], "permutation_null": False}
    return tiny_settings(folder, collect=own | changes, operators=operators, saes={"layers": []})


def conversations(path, n=60):
    talks = [
        [
            {"role": "user", "content": f"{WORDS[i % 7]} {i}?"},
            {"role": "assistant", "content": f"the {WORDS[i % 5]} of {i}"},
        ]
        for i in range(n)
    ]
    path.write_text("\n".join(json.dumps({"messages": talk}) for talk in talks))
    return path


def test_conversations_are_collected_as_the_chat_template_writes_them(folder):
    talks = conversations(folder / "talks.ndjson")
    settings = small(folder, corpus=str(talks), text_field="messages")
    with pytest.raises(SettingsError, match=r"the model has none .*model.name=.*collect\.text_field") as caught:
        collect(settings)
    assert "\n" not in str(caught.value)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    shutil.copytree(folder / "model", folder / "chat-model")
    tokenizer.save_pretrained(folder / "chat-model")
    model = settings.model.model_copy(update={"name": str(folder / "chat-model")})
    key = collect(settings.model_copy(update={"model": model}))
    texts = [row["text"] for row in rows(None, "select text from sequences where collection = ?", [key])]
    assert texts
    assert all(text.startswith("<bos><user>") and "<assistant>" in text for text in texts)


def test_several_files_make_one_collection_and_what_is_left_out_is_counted_and_named(folder, capsys):
    texts = folder / "texts"
    texts.mkdir()
    for i in range(40):
        (texts / f"{i}.TXT").write_text(f"{WORDS[i % 13]} " * 12 + str(i))
    (texts / "same.md").write_text(f"{WORDS[0]} " * 12 + "0")
    (texts / "scan.pdf").write_text("%PDF")
    more = folder / "more.csv"
    more.write_text("text\n" + "".join(f'"{WORDS[i % 3]}, {WORDS[i % 4]} {i} and so on"\n' for i in range(30)) + '""\n')
    key = collect(small(folder, corpus=[str(texts), str(more)]))
    assert "texts-and-1-more" in key
    (row,) = rows(None, "select * from collections where collection = ?", [key])
    assert row["corpus"] == f"{texts}, {more}"
    assert row["n_documents"] == 70
    assert row["skipped_documents"] == {"duplicate": 1, "empty": 1}
    assert (row["n_unread_files"], row["unread_files"]) == (1, [str(texts / "scan.pdf")])
    assert "1 files of the corpus are not read (1 .pdf): scan.pdf" in " ".join(capsys.readouterr().err.split())


def test_too_little_text_is_found_before_the_model_is_loaded(folder, monkeypatch):
    monkeypatch.setattr("ato.models.load_model", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(CorpusError, match=r"too few for 30 folds.*set collect\.n_folds=\d+"):
        collect(
            small(
                folder,
                corpus=str(conversations(folder / "a.jsonl")),
                text_field="messages.0.content",
                n_folds=30,
                min_len=2,
            )
        )
    with pytest.raises(CorpusError, match=r"no text in field text .*messages"):
        collect(small(folder, corpus=str(folder / "a.jsonl")))


def test_a_line_a_document_is_another_collection_and_the_default_keeps_its_key(folder):
    settings = small(folder)
    assert "one_document_per_line" not in settings.collect.model_dump()
    assert small(folder, one_document_per_line=True).collect.model_dump()["one_document_per_line"] is True
