"""Judges by the settings: words, sentence embeddings, or a language model on a server, whose calls are kept."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ato.autointerp.call_cache import CallRecord, CallStore, taken_by
from ato.autointerp.label_spaces import LabelSpace
from ato.autointerp.questions import Judge
from ato.features.excerpts import Excerpt, Origin
from ato.io.user_cache import user_cache
from ato.numerics.evenly import evenly_spaced
from tasks.engine.parallel_parts import split_evenly
from tasks.label.stages import AskedJudge, LabelStudy
from tasks.settings.label import ChatSettings
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from ato.autointerp.budget import Budget

BACKGROUND_SEQUENCES = 500
"""Train sequences that say how common words are."""


class NotedCalls:
    """A store of calls that notes which of them were asked for: those that a labelling rests on.

    Args:
        store: that keeps them.
        paid_by: name of the budget that new ones are made on.
    """

    def __init__(self, store: CallStore, paid_by: str):
        self._store, self._paid_by = store, paid_by
        self.noted: dict[str, CallRecord] = {}

    def get(self, key: str) -> CallRecord | None:
        """The record of that key, noted; None without one."""
        record = self._store.get(key)
        if record is not None:
            self.noted[key] = record
        return record

    def put(self, record: CallRecord) -> None:
        """Keep a record, noted."""
        record = replace(record, paid_by=self._paid_by)
        self._store.put(record)
        self.noted[record.call] = record

    def records(self) -> Iterator[CallRecord]:
        """All records, noted or not."""
        return self._store.records()


@dataclass(frozen=True)
class OpenJudge:
    """A judge at work."""

    judge: Judge
    describer: Judge | None = None
    """Who writes the descriptions, where the judge writes none."""
    calls: NotedCalls | None = None
    """None for judges that call no model."""

    def take_calls(self) -> list[CallRecord]:
        """The calls noted since they were taken last."""
        if self.calls is None:
            return []
        taken = [self.calls.noted[key] for key in sorted(self.calls.noted)]
        self.calls.noted.clear()
        return taken


@contextmanager
def open_judge(of: LabelStudy, asked: AskedJudge) -> Iterator[OpenJudge]:
    """A judge of the settings; inside, its server's connections and the file of its calls are open.

    Raises:
        SettingsError: the server's address or the key cannot be used.
        UnavailableError: the sentence encoder is not installed, or the calls cannot be kept.
    """
    if asked.kind == "chat":
        with _language_model_judge(of, asked) as opened:
            yield opened
    elif asked.kind == "embedding":
        yield OpenJudge(_embedding_judge(of), _overlap_judge(of))
    else:
        yield OpenJudge(_overlap_judge(of))


def calls_folder(warehouse: Warehouse) -> Path:
    """Where exchanges with servers are kept: within a local warehouse, beside an object store in the user's cache."""
    if warehouse.storage.is_local:
        return warehouse.artifact_path("llm_calls")
    return user_cache("llm_calls")


def budget_of(chat: ChatSettings, made: Iterable[CallRecord] = ()) -> "Budget":
    """The budget of the settings, of which the calls that were made on it are spent."""
    from ato.autointerp.budget import Budget, Limits, Prices

    prices = Prices(chat.prompt_price or 0.0, chat.completion_price or 0.0)
    return Budget(Limits(chat.max_calls, chat.max_tokens, chat.max_cost), prices, taken_by(made))


def _overlap_judge(of: LabelStudy) -> Judge:
    from ato.autointerp.overlap_judge import Background, OverlapJudge

    return OverlapJudge(Background.of(_background(of)), _spaces(of))


def _embedding_judge(of: LabelStudy) -> Judge:
    from ato.autointerp.embedding_judge import EmbeddingJudge
    from ato.autointerp.sentence_encoder import SentenceEncoder

    return EmbeddingJudge(SentenceEncoder(), spaces=_spaces(of))


@contextmanager
def _language_model_judge(of: LabelStudy, asked: AskedJudge) -> Iterator[OpenJudge]:
    from ato.autointerp.call_cache import FolderCalls
    from ato.autointerp.chat_client import ChatClient
    from ato.autointerp.llm_judge import JudgeOptions, LanguageModelJudge

    chat = asked.chat
    store = FolderCalls(calls_folder(of.study.warehouse))
    # A labelling that is resumed goes on with what is left: its stages are named by all that is asked, and by the budget.
    paid_by = "+".join(of.labels(member, asked).key for member in of.members)
    made = [record for record in store.records() if record.paid_by == paid_by]
    noted = NotedCalls(store, paid_by)
    options = JudgeOptions(
        chat.model,
        temperature=chat.temperature,
        candidate_temperature=chat.candidate_temperature,
        seed=of.settings.seed,
        texts_per_request=chat.texts_per_request,
        concurrency=chat.concurrency,
        thinking_tokens=chat.thinking_tokens,
    )
    reached: dict[str, Any] = {"timeout": chat.timeout, "max_attempts": chat.max_attempts}
    try:
        with ChatClient(chat.base_url, key_variable=chat.key_variable, **reached) as client:
            judge = LanguageModelJudge(client, options, store=noted, budget=budget_of(chat, made), spaces=_spaces(of))
            yield OpenJudge(judge, calls=noted)
    finally:
        store.close()


def _background(of: LabelStudy) -> Iterator[Excerpt]:
    """Train text in pieces of whole words, about as long as the windows."""
    study, windows = of.study, of.settings.windows
    width = windows.before + 1 + windows.after
    train = stored_sequences(study.warehouse, study.collection, splits=["train"])
    for sequence in evenly_spaced(train, BACKGROUND_SEQUENCES):
        words = sequence.text.split()
        origin = Origin(study.row.corpus, sequence.document, sequence.sequence_id, 0, 0, "train")
        for piece in split_evenly(len(words), max(1, round(len(sequence.token_ids) / width))):
            yield Excerpt((" ".join(words[piece.start : piece.stop]),), (0.0,), origin)


def _spaces(of: LabelStudy) -> dict[str, LabelSpace]:
    return {} if of.label_space is None else {of.label_space.name: of.label_space}
