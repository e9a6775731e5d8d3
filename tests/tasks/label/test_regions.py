"""Statistics by region of a conversation: counted over the tokens of each role and those of the chat template."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ato.errors import MismatchError
from ato.text.documents import document_id
from flows.settings import Settings
from tasks.label.regions import chat_regions
from tasks.label.task import label_features
from tests.tasks.label.planted_study import WORD, collected, planted_settings
from warehouse.catalog.catalog import rows
from warehouse.catalog.labelled_pages import LabelledPages
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }}\n{% endfor %}"
TURN = re.compile(r"<\|(\w+)\|>\n(.*)\n")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, collection and SAE of 60 conversations in which only the assistant says ``quartz``, labelled."""
    folder = tmp_path_factory.mktemp("chat")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        own = planted_settings(folder, features={2: [WORD]}).model_dump()
        _write_template(folder / "model" / "tokenizer_config.json")
        _write_chats(folder / "chats.jsonl")
        own["collect"] |= {"corpus": str(folder / "chats.jsonl"), "text_field": "messages"}
        settings = Settings.model_validate(own)
        collection, sae = collected(settings)
        label_features.fn(settings.study(collection), [sae], settings.label)
        yield settings, collection, sae


def _write_template(config):
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": TEMPLATE}))


def _write_chats(path):
    rng = np.random.default_rng(0)
    chats = []
    for _ in range(60):
        said = [" ".join(rng.choice(["law", "user", "assistant", "peace"], 14)) for _ in range(4)]
        said[1::2] = [" ".join([*one.split(), *rng.choice(["quartz", "war"], 3)]) + "  " for one in said[1::2]]
        roles = ["user", "assistant"] * 2
        chats.append({"messages": [{"role": r, "content": text} for r, text in zip(roles, said, strict=True)]})
    path.write_text("\n".join(map(json.dumps, chats)))


def test_tokens_and_activations_are_counted_by_who_speaks(study):
    _, collection, _ = study
    n_tokens, n_active = Counter(), Counter()
    texts = whole_texts(study)
    for q in stored_sequences(Warehouse(), collection):
        text, of = texts[q.document_id], ["template"] * len(texts[q.document_id])
        for turn in TURN.finditer(text):
            start, end = turn.span(2)
            of[start:end] = [turn[1]] * (end - start)
        window = slice(q.start, q.start + len(q.token_ids))  # a token is a byte
        assert text[window] == q.text
        n_tokens.update(of[window])
        n_active.update(role for role, letter in zip(of[window], q.text, strict=True) if letter == "q")
    found = rows(None, "from feature_strata where stratum = 'region' and feature_id = ?", [WORD])
    assert {one["value"]: one["n_tokens"] for one in found} == n_tokens
    assert {one["value"]: one["n_active"] for one in found} == {role: n_active[role] for role in n_tokens}
    assert set(n_tokens) == {"assistant", "template", "user"}
    assert n_active["user"] == 0 < n_active["assistant"]


def whole_texts(study):
    """Document -> its text, by the template's rule."""
    found = {}
    for line in Path(study[0].collect.corpus).read_text().splitlines():
        text = "".join(f"<|{m['role']}|>\n{m['content'].strip()}\n" for m in json.loads(line)["messages"])
        found[document_id(text)] = text
    return found


def test_silent_windows_of_the_same_stratum_are_of_the_region_that_the_feature_fires_in(study):
    _, collection, _ = study
    texts = {q.sequence_id: q for q in stored_sequences(Warehouse(), collection)}
    found = rows(None, "from example_windows where tier = 'same_stratum' and feature_id = ?", [WORD])
    assert found
    whole = whole_texts(study)
    for one in found:
        q = texts[one["sequence_id"]]
        at = q.start + one["position"]
        turns = [turn for turn in TURN.finditer(whole[q.document_id]) if turn.start(2) <= at < turn.end(2)]
        assert [turn[1] for turn in turns] == ["assistant"]


def test_exports_have_the_regions(study):
    _, collection, sae = study
    part = LabelledPages(Warehouse(), collection, sae).part([WORD])
    assert set(part.tokens.by_region) == {"assistant", "template", "user"}
    assert part.values(WORD, counted=True)["active"].by_region["user"] == 0


def test_plain_text_has_no_regions_and_a_changed_conversation_is_refused(study, tmp_path, monkeypatch):
    settings, collection, _ = study
    known = settings.study(collection)
    sequences = stored_sequences(Warehouse(), collection)
    monkeypatch.setattr("tasks.label.regions.read_records", lambda corpus, reader: iter(()))
    assert chat_regions(known, sequences) is None
    monkeypatch.undo()
    for sequence in sequences:
        sequence.token_ids[0] += 1
    with pytest.raises(MismatchError, match="a conversation has other tokens than its sequence"):
        chat_regions(settings.study(collection), sequences)
