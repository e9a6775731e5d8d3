"""Regions of conversations as a stratum: the role of the message that a token is of, or the chat template's own words."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ato.errors import MismatchError
from ato.features.strata import Stratum, token_stratum
from ato.models.chat import ChatTemplate
from ato.text import TokenSequence
from ato.text.chat_regions import TEMPLATE, Span, message_spans, token_regions
from ato.text.documents import document_id
from tasks.collect.reading import field_reader
from tasks.engine.model_cache import language_model
from tasks.engine.progress import phase, say
from tasks.engine.study import Study
from warehouse.datasets.corpora import read_records
from warehouse.datasets.corpus_conversations import Messages

REGION = "region"


@dataclass
class _NotedChat:
    """A chat template that notes where the messages of wanted conversations stand in their texts."""

    template: ChatTemplate
    wanted: frozenset[str]
    """Ids of documents."""
    spans: dict[str, list[Span]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    n_unknown: int = 0
    """Conversations whose template writes other words around other messages."""

    def __call__(self, messages: Messages) -> str:
        """The text of a conversation."""
        text = self.template(messages)
        key = document_id(text)
        if key in self.wanted and key not in self.spans:
            found = message_spans(self.template, messages, text)
            self.n_unknown += found is None
            if found is not None:
                self.spans[key], self.texts[key] = found, text
        return text


def chat_regions(study: Study, sequences: Iterable[TokenSequence]) -> Stratum | None:
    """The stratum ``region`` of a collection's tokens; None where its corpus holds no conversations.

    Args:
        study: the collection.
        sequences: of the collection.

    Raises:
        MismatchError: the texts of the corpus are no longer those that the collection was made from.
        CorpusError, SettingsError, UnavailableError, DamagedFileError: as ``read_documents``.
    """
    tokenizer = language_model(study.model).tokenizer
    if not getattr(tokenizer, "chat_template", None) or not tokenizer.is_fast:
        return None
    of_document: dict[str, list[TokenSequence]] = defaultdict(list)
    for sequence in sequences:
        of_document[sequence.document_id].append(sequence)
    noted = _read(study, frozenset(of_document))
    if noted.n_unknown:
        say("label", f"{noted.n_unknown} conversations without regions: the chat template depends on what they say")
    if not noted.spans:
        return None
    values = (*sorted({role for spans in noted.spans.values() for _, _, role in spans} - {TEMPLATE}), TEMPLATE)
    bos = tokenizer.bos_token_id if study.row.made_with["prepend_bos"] else None
    codes: dict[int, np.ndarray] = {}
    for key, spans in noted.spans.items():
        told = tokenizer(noted.texts[key], add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids, regions = np.array(told["input_ids"]), token_regions(told["offset_mapping"], spans, values)
        codes |= {q.sequence_id: _of_sequence(q, ids, regions, bos) for q in of_document[key]}
    return token_stratum(REGION, values, codes)


def _read(study: Study, wanted: frozenset[str]) -> _NotedChat:
    """The conversations of the corpus, read until all documents of the collection were seen."""
    settings, model = study.collecting, study.model
    noted = _NotedChat(ChatTemplate(model.name, model.revision, model.trust_remote_code), wanted)
    unseen = set(wanted)
    with phase("label", "reading the corpus for conversations"):
        for record in read_records(settings.corpus, field_reader(settings, noted)):
            unseen.discard(record.document.document_id)
            if not unseen:
                break
    return noted


def _of_sequence(sequence: TokenSequence, ids: np.ndarray, regions: np.ndarray, bos: Any) -> np.ndarray:
    """Regions of one window of a document; nothing is said of the BOS that is put before it."""
    n_before = int(bos is not None)
    own = int(np.argmax(ids != bos)) if bos is not None else 0  # a BOS of the template's is not counted by ``start``
    first = own + sequence.start
    last = first + len(sequence.token_ids) - n_before
    if not np.array_equal(ids[first:last], sequence.token_ids[n_before:]):
        cure = "run `ato run collect` on the corpus as it is now"
        raise MismatchError("a conversation has other tokens than its sequence", where=sequence.document_id, cure=cure)
    return np.concatenate([np.full(n_before, -1, dtype=np.int64), regions[first:last]])
