"""How the text of a corpus is read under the settings of a collection, and whether it is enough, before a model is loaded."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ato.errors import CorpusError
from ato.models.chat import ChatTemplate
from ato.models.tokenizer import load_tokenizer
from ato.moments.token_groups import TokenGroups
from ato.text import Document, TokenSequence
from ato.text.sequences import check_folds, make_sequences
from ato.text.splits import assign_split
from tasks.settings import CollectSettings, ModelSettings, OperatorSettings
from warehouse.datasets.corpora import read_documents
from warehouse.datasets.corpus_conversations import Messages
from warehouse.datasets.corpus_files import corpus_files, is_hub
from warehouse.datasets.corpus_records import FieldReader


def field_reader(settings: CollectSettings, chat: Callable[[Messages], str]) -> FieldReader:
    """How the settings have text read from files, conversations with the help of a chat template."""
    return FieldReader(settings.text_field, chat, settings.one_document_per_line)


def chat_reader(model: ModelSettings, settings: CollectSettings) -> FieldReader:
    """The same for a model that is not loaded: its tokenizer is, if there are conversations."""
    return field_reader(settings, ChatTemplate(model.name, model.revision, model.trust_remote_code))


def cut_corpus(
    settings: CollectSettings, reader: FieldReader, tokenizer: Any, skipped: Counter[str]
) -> Iterator[TokenSequence]:
    """The sequences that the settings cut from the corpus; documents that give none are counted in ``skipped``, by reason."""
    s = settings
    return make_sequences(
        read_documents(s.corpus, reader, skipped),
        tokenizer,
        seq_len=s.seq_len,
        n_tokens=s.n_tokens,
        max_sequences_per_document=s.max_sequences_per_document,
        min_len=s.min_len,
        split_seed=s.split_seed,
        n_folds=s.n_folds,
        prepend_bos=s.prepend_bos,
        skipped=skipped,
    )


def check_text(
    model: ModelSettings, settings: CollectSettings, operators: OperatorSettings, *, full_length: bool = False
) -> None:
    """Raise before the model is loaded if a fold, a split or a share of the scaling study gets no document.

    Documents are tokenised until all have one; where bytes and words show it already, the tokenizer is not loaded. Datasets of
    the hub are not looked at: they are read only once.

    Args:
        full_length: whether a test sequence of ``collect.seq_len`` tokens is needed: interventions take no others.

    Raises:
        CorpusError: too few or too short documents, or the corpus cannot be read.
        SettingsError: lengths contradict each other, or the model has no BOS token or chat template where one is needed.
        ModelError: there is no such tokenizer.
    """
    s = settings
    if is_hub(s.corpus):
        return
    needs = TextNeeds(s, tuple(operators.train_fractions), full_length)
    asked = f"{model.model_dump_json()} {s.model_dump_json()} {needs.fractions} {full_length}"
    state = corpus_files(s.corpus).state
    if (asked, state) in _ENOUGH:
        return
    reader = chat_reader(model, s)
    if s.prepend_bos or not needs.surely_met(read_documents(s.corpus, reader)):
        skipped = Counter[str]()
        tokenizer = load_tokenizer(model.name, revision=model.revision, trust_remote_code=model.trust_remote_code)
        needs.check(cut_corpus(s, reader, tokenizer, skipped), skipped)
    _ENOUGH.add((asked, state))


_ENOUGH: set[tuple] = set()
"""Settings and states of corpora that were found enough in this process."""


class TextNeeds:
    """What a corpus must fill: folds, val and test, the shares of the scaling study, a test sequence of full length.

    Args:
        fractions: shares of the train documents.
        full_length: whether a test sequence of full length is needed.
    """

    def __init__(self, settings: CollectSettings, fractions: tuple[float, ...] = (), full_length: bool = False):
        self.settings, self.fractions = settings, tuple(sorted({*fractions, 1.0}))
        self._groups = TokenGroups(settings.n_folds, self.fractions)
        self._shares = {one: set(self._groups.codes(self._groups.train_share(one))) for one in self.fractions}
        self._full_length = full_length
        self._filled: set[int] = set()
        self._parts: set[int] = set()
        self._longest = 0

    def check(self, sequences: Iterable[TokenSequence], skipped: Mapping[str, int]) -> None:
        """Read sequences until all is filled; raise CorpusError if they end before."""
        s = self.settings

        def seen() -> Iterator[TokenSequence]:
            for sequence in sequences:
                yield sequence
                self._take(sequence.group(s.n_folds), sequence.document, len(sequence.token_ids))
                if self.met:
                    return

        check_folds(seen(), s.n_folds, s.split_seed, skipped)
        if empty := self._empty_shares:
            listed = ", ".join(f"{fraction:g}" for fraction in empty)
            least = min(fraction for fraction in self.fractions if fraction not in empty)
            raise CorpusError(
                f"no document falls into the first {listed} of the train documents",
                where=f"operators.train_fractions={[*self.fractions]}",
                cure=f"use fractions from {least:g}, an empty list for no scaling study, or more documents",
            )
        if not self.met:
            raise CorpusError(
                f"no test sequence has the full length of {s.seq_len} tokens that interventions need, the longest has "
                f"{self._longest}",
                where=f"collect.seq_len={s.seq_len}",
                cure=f"set collect.seq_len={max(2, self._longest)} with causal.positions below {max(1, self._longest - 1)}, or "
                "run the stages without causal",
            )

    def surely_met(self, documents: Iterable[Document]) -> bool:
        """Whether all is filled whatever the tokenizer: a text has at most as many tokens as bytes, and at least as words."""
        s, left, number, certain = self.settings, float(self.settings.n_tokens), 0, True
        most = float("inf") if s.max_sequences_per_document is None else s.max_sequences_per_document * s.seq_len
        seen: set[str] = set()
        for document in documents:
            if document.document_id in seen or not document.text.strip():
                continue
            seen.add(document.document_id)
            left -= min(most, len(document.text.encode()) + 2)
            if left < 0:
                return False
            words = len(document.text.split(maxsplit=s.seq_len))
            if words <= s.min_len:
                certain = False  # it may be left out, and then those behind it have other numbers
                continue
            split, fold = assign_split(document.document_id, s.split_seed, s.n_folds)
            group = s.n_folds + (split == "test") if fold is None else fold
            self._take(group, number if certain else None, words)
            if self.met:
                return True
            number += 1
        return False

    @property
    def met(self) -> bool:
        """Whether all is filled."""
        long_enough = self._longest >= self.settings.seq_len or not self._full_length
        return len(self._filled) == self.settings.n_folds + 2 and long_enough and not self._empty_shares

    @property
    def _empty_shares(self) -> list[float]:
        return [fraction for fraction, codes in self._shares.items() if not codes & self._parts]

    def _take(self, group: int, document: int | None, length: int) -> None:
        """Note a document's group, the parts of its fold, and, in the test split, how long it is."""
        self._filled.add(group)
        if document is not None:
            places = self._groups.of_rows(1, group=np.array([group]), document=np.array([document]))
            self._parts.add(int(places[0]))
        if group == self.settings.n_folds + 1:
            self._longest = max(self._longest, length)
