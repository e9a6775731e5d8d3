"""The source that a collection is made with: live shards are stored as they pass, stored shards are replayed."""

import json
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ato.errors import DataError
from ato.residuals import Layer, ResidualBlock
from ato.residuals.blocks import check_finite
from ato.residuals.exclusion import NORM_OUTLIER, ExclusionPolicy
from ato.residuals.live import LiveSource, median_norms, only_rows
from ato.text.splits import in_splits
from tasks.collect.plan import CollectionPlan, make_plan, part_path
from tasks.settings import CollectSettings
from warehouse.datasets.sequences import read_shard
from warehouse.datasets.stored_source import Pending, read_block, stage_block
from warehouse.storage.warehouse import FileRecord, Warehouse

if TYPE_CHECKING:
    from ato.models import LanguageModel


MOST_UNREAD = 1000
"""Unread files of a corpus that are stored by name."""


@dataclass(frozen=True)
class _Shard:
    """The kept tokens of a shard, its record, and what it cost."""

    block: ResidualBlock
    record: dict[str, Any]
    tokens_run: int
    is_new: bool


class CollectingSource:
    """Yields one block a shard, in shard order, whether the shard is run now or was stored before.

    A shard is done when its record (a small JSON file, published after its data files) exists. Every shard holds
    sequences of one split only, so that a later pass over one split reads nothing else. The first shard is the
    pilot: its median norms set the limit above which a token counts as a norm outlier everywhere.

    Args:
        warehouse: that the collection is written to.
        collection: its key.
        layers: to read, ascending.
        plan: of the collection; default: it is made, and the sequences are written, before the model runs at all.
        shards: numbers of the shards to yield; default all. Without the pilot the plan must hold its median norms.
        replicas: of the model, on further devices: each runs shards of its own, to the same result.
        on_tokens: called with the number of tokens of each shard.

    Raises:
        SettingsError: attention of a model that does not give its weights, or an unknown site.
        LayerError: an attention layer is not in the model.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        collection: str,
        model: "LanguageModel",
        settings: CollectSettings,
        layers: tuple[int, ...],
        *,
        plan: CollectionPlan | None = None,
        shards: Sequence[int] | None = None,
        replicas: Sequence["LanguageModel"] = (),
        on_tokens: Callable[[int], None] = lambda n: None,
    ):
        model.check_attention(settings.attention_layers)
        self.layers, self.d_model, self.n_folds = layers, model.width(settings.site, layers), settings.n_folds
        self.tokens_run = 0
        self.records: list[dict[str, Any]] = []
        """Of the shards that were yielded: counts by split and by reason, the pilot's median norms, data files."""
        self._models = (model, *replicas)
        self._settings, self._on_tokens = settings, on_tokens
        self._warehouse, self._collection = warehouse, collection
        self.plan = plan or make_plan(warehouse, collection, model, settings, layers)
        self._median_norm = self.plan.median_norm
        self._numbers = range(len(self.plan.sequences)) if shards is None else shards

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """All shards in order; layers and splits as in every residual source."""
        with ThreadPoolExecutor(1, thread_name_prefix="shard-writer") as writer:
            writing: Future[None] | None = None
            shards = self._shards()
            for number in self._numbers:
                shard = next(shards)
                self.records.append(shard.record)
                self.tokens_run += shard.tokens_run
                block = shard.block
                if shard.is_new and self._settings.store_activations:
                    if writing is not None:
                        writing.result()  # one shard in flight: memory stays bounded, a full disk stops the run
                    writing = self._store(writer, number, block, shard.record)
                self._on_tokens(sum(shard.record["tokens"].values()))
                block = block.select(in_splits(block.group, splits, self.n_folds)) if splits is not None else block
                yield block if layers is None else block.at(layers)
                del shard, block  # the next shard is made before the loop would let go of this one
            if writing is not None:
                writing.result()

    def _shards(self) -> Iterator["_Shard"]:
        """Shards in order. Several models run as many at a time, after the pilot, whose norms the others need."""
        numbers = iter(self._numbers)
        if len(self._models) == 1:
            yield from (self._shard(number, self._models[0]) for number in numbers)
            return
        yield from (self._shard(number, self._models[0]) for number in islice(numbers, 1))
        running: deque[Future[_Shard]] = deque()
        with ThreadPoolExecutor(len(self._models), thread_name_prefix="replica") as pool:
            for model, number in zip(cycle(self._models), numbers):
                running.append(pool.submit(self._shard, number, model))
                if len(running) == len(self._models):
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()

    def _shard(self, number: int, model: "LanguageModel") -> "_Shard":
        """One shard, stored before or run now; residuals on the device of the first model."""
        shard = self._replay(number) or self._run(number, model)
        return replace(shard, block=shard.block.to(self._models[0].device))

    def _run(self, number: int, model: "LanguageModel") -> "_Shard":
        """Run one shard through a model; returns its kept tokens and its record."""
        s = self._settings
        pilot = number == 0 and s.max_norm_multiple is not None
        policy = ExclusionPolicy(
            skip_special=s.skip_special,
            skip_first=s.skip_first,
            max_norm_multiple=None if pilot else s.max_norm_multiple,
        )
        sequences = read_shard(self._warehouse, self.plan.sequences[number])
        source = LiveSource(
            model,
            sequences,
            self.layers,
            n_folds=s.n_folds,
            batch_size=s.batch_size,
            policy=policy,
            median_norm=None if pilot else self._median_norm,
            site=s.site,
            attention_layers=s.attention_layers,
            # Some of what the pilot attends to turns out to be outliers: all of it is kept until that is known.
            attention_top_k=max(s.seq_len, s.attention_top_k) if pilot else s.attention_top_k,
            output_device=None,
        )
        block = source.joined()
        if not block.n:
            raise DataError(
                "no tokens kept in a shard",
                where=f"shard {number}",
                cure="relax the exclusion settings (collect.skip_special, skip_first, max_norm_multiple)",
            )
        check_finite(block)
        dropped = Counter(source.dropped)
        if pilot:
            self._median_norm = median_norms([block])
            norms = {layer: block.norm(layer).cpu().numpy() for layer in self.layers}
            outlier = ExclusionPolicy(max_norm_multiple=s.max_norm_multiple).norm_outliers(norms, self._median_norm)
            dropped[NORM_OUTLIER] += int(outlier.sum())
            if outlier.any():
                stay = torch.from_numpy(np.flatnonzero(~outlier))
                # In the memory of the block: a copy would be a second shard.
                rows = {layer: only_rows(x, stay) for layer, x in block.residuals.items()}
                block = replace(block.at(()).select(~outlier), residuals=rows)
            attended = {
                layer: every.among(block.sequence_id, block.position).top(s.attention_top_k)
                for layer, every in block.attended.items()
            }
            block = replace(block, attended=attended)
        split = sequences[0].split
        record: dict[str, Any] = {
            "tokens": {split: source.tokens_run},
            "kept": {split: block.n},
            "dropped": dict(dropped),
            "median_norm": self._median_norm,
            "files": [],
        }
        return _Shard(block, record, source.tokens_run, is_new=True)

    def _store(
        self, writer: ThreadPoolExecutor, number: int, block: ResidualBlock, record: dict[str, Any]
    ) -> "Future[None]":
        """Store a shard: the writer at least waits for the disk.

        A model on the CPU is not run meanwhile: beside a thread that writes, its own would wait for one another, and two
        shards would be in memory. An accelerator goes on.
        """
        stage = partial(stage_block, self._warehouse, self._collection, number, block)
        if all(model.device.type == "cpu" for model in self._models):
            return writer.submit(self._publish, number, stage(), record)
        return writer.submit(lambda: self._publish(number, stage(), record))

    def _publish(self, number: int, pending: Pending, record: dict[str, Any]) -> None:
        """Publish a shard's data files, then its record."""
        record["files"] = [vars(file) for file in pending()]
        text = json.dumps(record)
        self._warehouse.publish_artifact(lambda path: path.write_text(text), *self._record_path(number))

    def _record_path(self, number: int) -> tuple[str, ...]:
        return part_path(self._collection, f"shard-{number:05d}.json")

    def _replay(self, number: int) -> "_Shard | None":
        """A shard that an earlier run stored, or None."""
        path = self._warehouse.artifact_path(*self._record_path(number))
        if not path.exists():
            return None
        record = json.loads(path.read_text())
        files = [FileRecord(**file) for file in record["files"]]
        if self._warehouse.damage(files):
            return None
        if record["median_norm"] is not None:
            self._median_norm = {int(layer): norm for layer, norm in record["median_norm"].items()}
        block = read_block(
            self._warehouse,
            self._collection,
            number,
            self.layers,
            self.n_folds,
            sorted(set(self._settings.attention_layers)),
            self._settings.attention_top_k,
        )
        return _Shard(block, record, tokens_run=0, is_new=False)


def files_of(plan: CollectionPlan, records: Iterable[dict[str, Any]]) -> list[FileRecord]:
    """All data files of a collection, given the records of its shards."""
    return [*plan.sequences, *(FileRecord(**file) for record in records for file in record["files"])]


def facts_of(plan: CollectionPlan, records: Sequence[dict[str, Any]], settings: CollectSettings) -> dict[str, Any]:
    """The counts of a collection, as columns of the table ``collections``, given the records of its shards in order."""
    kept, dropped, tokens = Counter[str](), Counter[str](), Counter[str]()
    for record in records:
        kept.update(record["kept"])
        dropped.update(record["dropped"])
        tokens.update(record["tokens"])
    norms = records[0]["median_norm"] or {}  # layer -> norm, in the order of the layers
    return {
        "n_documents": plan.n_documents,
        "n_sequences": sum(file.rows for file in plan.sequences),
        "n_tokens": tokens.total(),
        "n_kept": kept.total(),
        "dropped_by_reason": dict(sorted(dropped.items())),
        "skipped_documents": dict(sorted(plan.skipped_documents.items())),
        "n_unread_files": len(plan.unread_files),
        "unread_files": plan.unread_files[:MOST_UNREAD],
        "site": settings.site,
        "d_model": plan.d_model,
        "n_layers": plan.n_layers,
        "median_norm": list(norms.values()),
        "fewer_tokens_than_dimensions": kept["train"] < plan.d_model,
        "warnings": plan.warnings,
    }
