"""How the text of a corpus is read under the settings of a collection, and whether it is enough, before a model is loaded."""

from collections import Counter
from collections.abc import Callable, Iterator

from ato.models.chat import ChatTemplate
from ato.models.tokenizer import load_tokenizer
from ato.text import Document
from ato.text.sequences import check_folds, make_sequences
from ato.text.splits import assign_split, group_names
from tasks.settings import CollectSettings, ModelSettings
from warehouse.datasets.corpora import read_documents
from warehouse.datasets.corpus_files import is_hub
from warehouse.datasets.corpus_records import FieldReader, Messages


def field_reader(settings: CollectSettings, chat: Callable[[Messages], str]) -> FieldReader:
    """How the settings have text read from files, conversations with the help of a chat template."""
    return FieldReader(settings.text_field, chat, settings.one_document_per_line)


def chat_reader(model: ModelSettings, settings: CollectSettings) -> FieldReader:
    """The same for a model that is not loaded: its tokenizer is, if there are conversations."""
    return field_reader(settings, ChatTemplate(model.name, model.revision, model.trust_remote_code))


def check_text(model: ModelSettings, settings: CollectSettings) -> None:
    """Raise before the model is loaded if the corpus leaves a fold or a split without documents.

    Documents are tokenised until every group has one; where their lengths in bytes and words show it already, none are.
    Datasets of the hub are not looked at: they are read only once.

    Raises:
        CorpusError: too few documents, or the corpus cannot be read.
        SettingsError: lengths contradict each other, or the model has no BOS token or chat template where one is needed.
        ModelError: there is no such tokenizer.
    """
    s = settings
    if is_hub(s.corpus):
        return
    reader = chat_reader(model, s)
    if not s.prepend_bos and surely_enough(read_documents(s.corpus, reader), s):
        return
    skipped = Counter[str]()
    sequences = make_sequences(
        read_documents(s.corpus, reader, skipped),
        load_tokenizer(model.name, revision=model.revision, trust_remote_code=model.trust_remote_code),
        seq_len=s.seq_len,
        n_tokens=s.n_tokens,
        max_sequences_per_document=s.max_sequences_per_document,
        min_len=s.min_len,
        split_seed=s.split_seed,
        n_folds=s.n_folds,
        prepend_bos=s.prepend_bos,
        skipped=skipped,
    )
    filled: set[int] = set()

    def until_filled() -> Iterator:
        for sequence in sequences:
            yield sequence
            filled.add(sequence.group(s.n_folds))
            if len(filled) == len(group_names(s.n_folds)):
                return

    check_folds(until_filled(), s.n_folds, s.split_seed, skipped)


def surely_enough(documents: Iterator[Document], settings: CollectSettings) -> bool:
    """Whether every fold and split gets a document whatever the tokenizer: tokens are at most bytes, and at least words."""
    s, left, filled = settings, float(settings.n_tokens), set()
    most = float("inf") if s.max_sequences_per_document is None else s.max_sequences_per_document * s.seq_len
    seen: set[str] = set()
    for document in documents:
        if document.document_id in seen:
            continue
        seen.add(document.document_id)
        left -= min(most, len(document.text.encode()) + 2)
        if left < 0:
            return False
        if len(document.text.split(maxsplit=s.min_len)) > s.min_len:
            filled.add(assign_split(document.document_id, s.split_seed, s.n_folds))
        if len(filled) == s.n_folds + 2:
            return True
    return False
