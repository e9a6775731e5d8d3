"""Stage ``strata``: what the corpus of a finished collection says about its documents."""

from functools import cached_property

from ato.errors import MismatchError
from ato.io.hashing import digest_of
from tasks.collect.reading import chat_reader
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.progress import phase, say
from tasks.engine.study import Study
from warehouse.catalog.catalog import rows
from warehouse.datasets.corpora import corpus_hash
from warehouse.datasets.corpus_files import is_hub
from warehouse.datasets.corpus_strata import read_strata

_DOCUMENTS = "select distinct document_id, document from sequences where collection = ? order by document"


@stage_task("strata")
@one_at_a_time("strata")
def document_strata(study: Study) -> str:
    """Read the corpus again, and keep each document's strata in the table ``document_strata``; returns the stage's key.

    The key comes from the values: whoever mends a label in the corpus, and runs again, has them read anew. Datasets of the hub,
    which their commit fixes, are read once.

    Raises:
        MismatchError: the texts of the corpus are no longer those that the collection was made from.
        CorpusError: the corpus is missing or damaged, no record has a field that ``collect.strata`` names, or a value of it
            names no stratum.
        SettingsError, UnavailableError, DamagedFileError: as ``read_documents``.
    """
    reading = _Reading(study)
    content = study.row.corpus_hash if is_hub(reading.settings.corpus) else reading.digest
    stage = study.stage("strata", "strata", settings={"strata": [*study.strata]}, inputs=[study.collection, content])
    if stage.skip():
        return stage.key
    with stage:
        stage.write("document_strata", [row | {"strata": stage.key} for row in reading.rows])
    say("strata", reading.summary)
    return stage.key


class _Reading:
    """The strata of a collection's documents, read when they are first asked for."""

    def __init__(self, study: Study):
        self._study = study
        self.settings = study.collecting

    @cached_property
    def rows(self) -> list[dict[str, object]]:
        """Rows of ``document_strata`` without the key, by document and stratum."""
        study, settings = self._study, self.settings
        reader = chat_reader(study.model, settings)
        with phase("strata", "reading the corpus"):
            if corpus_hash(settings.corpus, reader) != study.row.corpus_hash:
                raise self._changed("the corpus is no longer the one that the collection was made from")
            documents = rows(study.warehouse, _DOCUMENTS, [study.collection])
            found = read_strata(settings.corpus, reader, study.strata, {row["document_id"] for row in documents})
        if missing := sum(row["document_id"] not in found.values for row in documents):
            raise self._changed(f"{missing} of {len(documents)} documents of the collection are not in the corpus")
        made = []
        for row in documents:
            for stratum in found.names:
                value, reason = found.value(row["document_id"], stratum)
                own = {"collection": study.collection, "stratum": stratum, "value": value, "reason": reason}
                made.append(row | own)
        return made

    @property
    def digest(self) -> str:
        """Hash of all that the rows say."""
        names = ("document_id", "stratum", "value", "reason")
        return digest_of(repr([row[name] for name in names]) for row in self.rows)[:16]

    @property
    def summary(self) -> str:
        """What was found, in a line."""
        strata = dict.fromkeys(str(row["stratum"]) for row in self.rows)
        if not strata:
            return (
                f"{self._study.collection}: the corpus says nothing about its documents; name fields in collect.strata"
            )
        parts = []
        for name in strata:
            values = [row for row in self.rows if row["stratum"] == name]
            without = sum(row["value"] is None for row in values)
            parts.append(
                f"{name} ({len({row['value'] for row in values} - {None})} values, {without} documents without)"
            )
        return f"{self._study.collection}: {', '.join(parts)}"

    def _changed(self, what: str) -> MismatchError:
        cure = "bring back its text, or run `ato run collect` on it as it is now"
        return MismatchError(what, where=f"{self._study.collection}, corpus {self._study.row.corpus}", cure=cure)
