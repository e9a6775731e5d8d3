"""The plan of a collection: its corpus cut into sequences, written shard by shard before the model runs at all."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ato.models import bos
from ato.models.chat import conversation_text
from ato.text import TokenSequence
from ato.text.sequences import check_folds
from tasks.collect.reading import cut_corpus, field_reader
from tasks.engine.progress import say
from tasks.settings import CollectSettings
from warehouse.catalog.lookups import CollectionRow
from warehouse.datasets.corpus_files import corpus_files, is_hub, unread_line
from warehouse.datasets.sequences import write_sequences
from warehouse.storage.manifests import manifest
from warehouse.storage.warehouse import FileRecord, Warehouse

if TYPE_CHECKING:
    from ato.models import LanguageModel


@dataclass(frozen=True)
class CollectionPlan:
    """What is known of a collection before the model has run, and what its first shard, the pilot, finds out."""

    sequences: list[FileRecord]
    """One file a shard, in order."""
    n_documents: int
    skipped_documents: dict[str, int]
    """Reason -> documents that gave no sequence."""
    d_model: int
    n_layers: int
    median_norm: dict[int, float] | None = None
    """Layer -> median norm in the pilot; None before it was run, or where norms leave out no token."""
    warnings: list[str] = field(default_factory=list)
    """What a reader of its numbers should know, one line each."""
    unread_files: list[str] = field(default_factory=list)
    """Files of the corpus that no reader knows."""

    def save(self, warehouse: Warehouse, collection: str) -> None:
        """Publish the plan for the processes that share the work."""
        text = json.dumps(asdict(self))
        warehouse.publish_artifact(lambda path: path.write_text(text), *part_path(collection, "plan.json"))

    @classmethod
    def load(cls, warehouse: Warehouse, collection: str) -> "CollectionPlan":
        """The plan that ``save`` published."""
        values = json.loads(warehouse.artifact_path(*part_path(collection, "plan.json")).read_text())
        values["sequences"] = [FileRecord(**file) for file in values["sequences"]]
        if norms := values["median_norm"]:
            values["median_norm"] = {int(layer): norm for layer, norm in norms.items()}
        return cls(**values)


def part_path(collection: str, name: str) -> tuple[str, str, str]:
    """Where parts of what is being made of a collection lie; all of them go once it is complete."""
    return ("collections", collection, name)


def forget_parts(warehouse: Warehouse, collection: str, start: str = "") -> None:
    """Remove what shards and parts left for one another, whose names start so: manifests have taken over."""
    folder = f"artifacts/collections/{collection}"
    for path in warehouse.storage.names(folder):
        if path.startswith(f"{folder}/{start}"):
            warehouse.storage.remove(path)


def make_plan(
    warehouse: Warehouse, collection: str, model: "LanguageModel", settings: CollectSettings, layers: Sequence[int]
) -> CollectionPlan:
    """Cut the corpus into sequences and write them; warn, on a few of them, of a model that needs the BOS they lack.

    Raises:
        CorpusError: the corpus cannot be read, or a split or fold gets no document.
        DiskFullError: no space left.
        LayerError: the site is not equally wide at all of these layers.
        ModelError: what is read at the site is not what blocks add.
    """
    s, skipped = settings, Counter[str]()
    unread = [] if is_hub(s.corpus) else [str(file) for file in corpus_files(s.corpus).unread]
    if unread:
        say("collect", unread_line(unread))
    reader = field_reader(s, partial(conversation_text, model.tokenizer, model.identity.model))
    sequences = cut_corpus(s, reader, model.tokenizer, skipped)
    files: list[FileRecord] = []
    width, first = model.width(s.site, layers), list[np.ndarray]()

    def written() -> Iterator[TokenSequence]:
        for number, shard in enumerate(shards_by_split(sequences, s.shard_sequences)):
            files.append(write_sequences(warehouse, collection, number, shard))
            first.extend(q.token_ids for q in shard[: bos.N_TEXTS - len(first)])
            yield from shard

    documents = check_folds(written(), s.n_folds, s.split_seed, skipped)
    effect = None if s.prepend_bos else bos.bos_effect(model, first)
    warnings = [str(effect)] if effect is not None and effect.needed else []
    for warning in warnings:
        say("collect", warning)
    return CollectionPlan(
        files,
        sum(documents.values()),
        dict(skipped),
        width,
        model.n_layers,
        warnings=warnings,
        unread_files=unread,
    )


def plan_of(warehouse: Warehouse, row: CollectionRow) -> CollectionPlan:
    """The plan of a complete collection."""
    run = manifest(warehouse, "collect", row.collection)
    assert run is not None  # it is complete
    return CollectionPlan(
        [file for file in run.files if file.table_name == "sequences"],
        row.n_documents,
        row.skipped_documents,
        row.d_model,
        row.n_layers,
        row.median_norms or None,
        row.warnings or [],
    )


def shards_by_split(sequences: Iterable[TokenSequence], size: int) -> Iterator[list[TokenSequence]]:
    """Group a stream of sequences into shards of one split and at most ``size`` sequences; renumbers them in order."""
    waiting: dict[str, list[TokenSequence]] = {"train": [], "val": [], "test": []}
    number = 0

    def numbered(shard: list[TokenSequence]) -> list[TokenSequence]:
        nonlocal number
        number += len(shard)
        return [replace(q, sequence_id=number - len(shard) + i) for i, q in enumerate(shard)]

    for sequence in sequences:
        shard = waiting[sequence.split]
        shard.append(sequence)
        if len(shard) == size:
            yield numbered(shard)
            waiting[sequence.split] = []
    for shard in waiting.values():
        if shard:
            yield numbered(shard)
