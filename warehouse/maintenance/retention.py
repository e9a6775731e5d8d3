"""Retention: what can be removed from a warehouse and why, and crash-safe removal."""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ato.errors import DamagedFileError, InputError
from warehouse.catalog import mart_files, published
from warehouse.registry.database import exists
from warehouse.storage import checkpoints, locks
from warehouse.storage.manifests import FAILED, PASSED, StageRun, manifest_path, manifests_and_damage
from warehouse.storage.staging import Entry, remove_leftover
from warehouse.storage.warehouse import MARKER, Warehouse
from warehouse.tables.lists import LIST_CHANGES

LEFTOVER = "staging files of killed processes"
FAILED_STAGE = "stages whose quality failed"
CHECKPOINTS = "checkpoints of trainings that no run continues"
SHARD_RECORD = "shard records of complete collections"
UNLISTED = "files that no manifest lists"
OUTDATED = "marts of earlier results"
CHOSEN = "collections"
GRACE_SECONDS = 3600
"""Age (seconds) below which unlisted files are kept: a run may be about to commit them."""
_KEPT = (
    MARKER,
    published.PUBLISHED,
    f"{locks.FOLDER}/",
    f"{checkpoints.FOLDER}/",
    f"{LIST_CHANGES}/",
    "artifacts/mlflow/",
    "artifacts/neuronpedia/",
)
"""Paths and path prefixes that belong to no stage."""
_OF_A_COLLECTION = ("reports", "collections")
"""Artifact folders with one sub-folder per collection."""


@dataclass(frozen=True)
class Removal:
    """One file or folder to remove."""

    path: str
    bytes: int
    reason: str


@dataclass
class Plan:
    """What to remove, in order: manifests first, so that no partial result is ever visible."""

    collections: tuple[str, ...] = ()
    """Collections that are removed completely."""
    leftovers: list[Removal] = field(default_factory=list)
    manifests: list[Removal] = field(default_factory=list)
    files: list[Removal] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    """Addresses in the registry."""
    notes: list[str] = field(default_factory=list)
    """What is kept, and why."""

    @property
    def removals(self) -> list[Removal]:
        """All removals."""
        return [*self.leftovers, *self.manifests, *self.files]

    @property
    def bytes(self) -> int:
        """Bytes freed, without copies in the registry."""
        return sum(removal.bytes for removal in self.removals)


def plan(warehouse: Warehouse, collections: Collection[str] = (), older_than: timedelta | None = None) -> Plan:
    """What can be removed: leftovers, and the collections that are named or older than a limit.

    A collection is removed with its stages, artifacts, reports and registry versions, except anything that a stage of
    another collection reads.

    Args:
        collections: keys.
        older_than: age of a collection's latest stage run (of an unfinished one: of its latest file).

    Raises:
        InputError: no such collection, or a run is using it.
        DamagedFileError: a manifest cannot be read, so that nobody knows which files it lists.
    """
    runs, unreadable = manifests_and_damage(warehouse)
    if unreadable:
        cure = "run the command that wrote it again, or remove this file"
        raise DamagedFileError("manifest cannot be read", where=warehouse.storage.url(unreadable[0]), cure=cure)
    entries = warehouse.storage.entries()
    committed = {run.collection for run in runs}
    unfinished = {key for key in map(_collection_of, entries) if key} - committed
    chosen = _chosen(set(collections), older_than, runs, entries, committed | unfinished)
    working = locks.holders(warehouse)
    for key in sorted(chosen):
        if name := next((name for name in working if name.split("-", 1)[1] == key), None):
            cure = "wait for it or stop it"
            raise InputError(f"a run is using it ({working[name]})", where=f"collection {key}", cure=cure)
    going = _going(runs, chosen, with_failed=not working)
    staying = [run for run in runs if run not in going]
    stored = mart_files.stored_marts(entries, staying).paths
    listed = {file.path for run in staying for file in run.files} | stored
    found = Plan(tuple(sorted(chosen)), versions=_versions(warehouse, chosen))
    found.leftovers = [Removal(path, size, LEFTOVER) for path, size in warehouse.storage.leftovers().items()]
    reasons: dict[str, str] = {}
    for run in going:
        reason = CHOSEN if run.collection in chosen else FAILED_STAGE
        path = manifest_path(run.stage, run.key)
        found.manifests.append(Removal(path, entries[path].bytes, reason))
        reasons |= {file.path: reason for file in run.files}
        if run.stage == "collect":  # with what it wrote in vain
            reasons |= {path: reason for path in entries if _collection_of(path) == run.collection}
    reasons |= {path: CHOSEN for path in entries if _collection_of(path) in chosen}
    if working:
        held = "; ".join(f"{name}: {holder}" for name, holder in working.items())
        found.notes.append(f"{FAILED_STAGE}, {UNLISTED}, and {CHECKPOINTS}, while a run is at work ({held})")
    else:
        idle = checkpoints.idle_checkpoints(warehouse, GRACE_SECONDS)
        found.leftovers += [Removal(path, size, CHECKPOINTS) for path, size in idle.items()]
        known = listed | reasons.keys() | {manifest_path(run.stage, run.key) for run in runs}
        reasons |= dict(_unlisted(entries, known, committed, unfinished, _last_changes(runs, entries)))
    for key in sorted(unfinished - chosen):
        found.notes.append(
            f"collection {key} is not finished: the run that made it resumes it; --collection {key} removes it"
        )
    if stored:
        size = sum(entries[path].bytes for path in stored)
        found.notes.append(f"{len(stored)} files of materialised marts, {size:,} bytes: queries read them")
    gone = {removal.path for removal in found.manifests}
    found.files = [
        Removal(path, entries[path].bytes, reason)
        for path, reason in sorted(reasons.items())
        if path in entries and path not in listed and path not in gone
    ]
    return found


def carry_out(warehouse: Warehouse, plan: Plan) -> None:
    """Remove what a plan lists. If interrupted, nothing partial is visible, and the next ``plan`` lists the rest."""
    for removal in plan.leftovers:
        remove_leftover(removal.path)
    for removal in plan.manifests:
        warehouse.storage.remove(removal.path)
    there = warehouse.storage.read(published.PUBLISHED) is not None
    in_views = plan.manifests or any(mart_files.mart_file(removal.path) for removal in plan.files)
    if in_views and there:
        published.publish(warehouse)  # its views name files
    if plan.collections and exists(warehouse.root):
        from warehouse.registry.registry import Registry
        from warehouse.registry.training_curves import TrainingCurves

        registry, curves = Registry(warehouse.root), TrainingCurves(warehouse.root)
        for key in plan.collections:
            registry.forget(key)
            curves.forget(key)
    for removal in plan.files:
        warehouse.storage.remove(removal.path)
    locks.holders(warehouse, remove_stale=True)


def _chosen(
    named: set[str],
    older_than: timedelta | None,
    runs: Collection[StageRun],
    entries: dict[str, Entry],
    known: set[str],
) -> set[str]:
    if missing := sorted(named - known):
        cure = f"choose from {', '.join(sorted(known))}" if known else "there is none"
        raise InputError(f"no collection {missing[0]!r}", cure=cure)
    if older_than is None:
        return named
    latest = {run.collection: run.finished_at for run in sorted(runs, key=lambda run: run.finished_at)}
    for path, entry in entries.items():
        key = _collection_of(path)
        if key is not None and not any(run.collection == key for run in runs):
            modified = datetime.fromtimestamp(entry.modified, UTC)
            latest[key] = max(modified, latest.get(key, modified))
    limit = datetime.now(UTC) - older_than
    return named | {key for key, moment in latest.items() if moment < limit and key in known}


def _versions(warehouse: Warehouse, chosen: set[str]) -> list[str]:
    if not chosen or not exists(warehouse.root):
        return []
    from warehouse.registry.registry import Registry

    registry = Registry(warehouse.root)
    return [address for key in sorted(chosen) for address in registry.versions_of(key)]


def _going(runs: Collection[StageRun], chosen: set[str], *, with_failed: bool) -> list[StageRun]:
    """Stage runs of the chosen collections and failed ones, except what other runs read."""
    going = [run for run in runs if run.collection in chosen or (with_failed and run.quality == FAILED)]
    while True:
        needed = {key for run in runs if run not in going for key in run.inputs}
        kept = [run for run in going if run.key in needed and run.quality == PASSED]
        if not kept:
            return going
        going = [run for run in going if run not in kept]


def _last_changes(runs: Collection[StageRun], entries: dict[str, Entry]) -> dict[str, float]:
    """Collection -> when its latest manifest was written, in seconds since 1970."""
    latest: dict[str, float] = {}
    for run in runs:
        written = entries[manifest_path(run.stage, run.key)].modified
        latest[run.collection] = max(written, latest.get(run.collection, written))
    return latest


def _unlisted(
    entries: dict[str, Entry],
    known: Collection[str],
    committed: Collection[str],
    unfinished: Collection[str],
    changed: dict[str, float],
) -> Iterator[tuple[str, str]]:
    """Paths of leftovers of runs that never committed them, with the reason."""
    for path, entry in entries.items():
        key = _collection_of(path)
        if path in known or path.startswith(_KEPT) or key in unfinished:
            continue
        if path.startswith("artifacts/collections/"):
            yield path, SHARD_RECORD
        elif path.startswith(f"{mart_files.FOLDER}/"):
            # Who connected before the collection changed may still read it.
            if time.time() - max(entry.modified, changed.get(key or "", 0.0)) > GRACE_SECONDS:
                yield path, OUTDATED
        elif path.startswith("artifacts/reports/") and key in committed:
            continue  # drawn from tables, listed nowhere
        elif time.time() - entry.modified > GRACE_SECONDS:
            yield path, UNLISTED


def _collection_of(path: str) -> str | None:
    """The collection whose folder a path lies in."""
    steps = path.split("/")
    if len(steps) > 2 and steps[1].startswith("collection="):
        return steps[1].removeprefix("collection=")
    return steps[2] if len(steps) > 3 and steps[0] == "artifacts" and steps[1] in _OF_A_COLLECTION else None
