"""What each table holds: the files of complete stages that passed their checks, and the first problem with them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ato.errors import DamagedFileError
from warehouse.storage.change_log import changes
from warehouse.storage.manifests import PASSED, REBUILD, StageRun, manifest_path
from warehouse.storage.warehouse import Warehouse
from warehouse.tables.lists import LIST_CHANGES

UNFILTERED = ("stage_runs", "quality_results")
"""Tables that also show stages that failed their checks, so that the reason can be read."""


@dataclass
class Contents:
    """Files of one table."""

    files: list[tuple[str, str]] = field(default_factory=list)
    """Path and collection of each file, by path."""
    problem: str | None = None
    """Text of the error that a query of this table raises; None if every file is there with its recorded size."""
    older: frozenset[str] = frozenset()
    """Paths of manifests of earlier versions, which lack the columns ``ADDED_LATER``: a query shows NULL."""

    @property
    def paths(self) -> list[str]:
        """Path of each file, relative to the warehouse."""
        return [path for path, _ in self.files]

    def of(self, collections: Collection[str]) -> "Contents":
        """The files of some collections."""
        return replace(self, files=[(path, key) for path, key in self.files if key in collections])


def contents_of(
    warehouse: Warehouse, tables: Iterable[str], runs: Sequence[StageRun], unreadable: Sequence[str]
) -> dict[str, Contents]:
    """Table -> its files and the first problem with them.

    Args:
        warehouse: where the files are looked for.
        tables: names of declared tables.
        runs: all stage runs, with the paths of the manifests that could not be read: of ``manifests_and_damage``.
        unreadable: see ``runs``.
    """
    contents = {name: Contents() for name in tables}
    visible = {
        file.path: (file, run.collection)
        for run in runs
        for file in run.files
        if file.table_name in contents and is_visible(run, file.table_name)
    }
    problems = warehouse.damage(file for file, _ in visible.values())
    for path, (file, key) in sorted(visible.items()):
        of_table = contents[file.table_name]
        of_table.files.append((path, collection_of(path) or key))
        if path in problems and of_table.problem is None:
            of_table.problem = _damaged(warehouse, path, problems[path])
    if "stage_runs" in contents:
        of_runs = contents["stage_runs"]
        of_runs.files = sorted((manifest_path(run.stage, run.key), run.collection) for run in runs)
        of_runs.older = frozenset(manifest_path(run.stage, run.key) for run in runs if run.batch is None)
    of_changes = contents.pop(LIST_CHANGES, None)  # no manifest says what it holds
    for path in unreadable:
        owner = manifest_owner(warehouse, path)
        if warehouse.only is not None and owner not in (None, warehouse.only):
            continue
        # Nobody knows which tables the lost manifest fed: an answer without its rows would be silently wrong.
        cure = REBUILD if owner else f"remove this file, then {REBUILD}"
        for of_table in contents.values():
            of_table.problem = of_table.problem or _damaged(warehouse, path, "manifest cannot be read", cure)
        break
    return contents if of_changes is None else contents | {LIST_CHANGES: _changes(warehouse)}


def _changes(warehouse: Warehouse) -> Contents:
    files = [change.file for change in changes(warehouse)]
    found = Contents([(file.path, "") for file in files])
    cure = "bring it back from a copy of the warehouse, or remove it: it holds one change of a list"
    for path, problem in warehouse.damage(files).items():
        found.problem = found.problem or _damaged(warehouse, path, problem, cure)
    return found


def is_visible(run: StageRun, table: str) -> bool:
    """Whether a table shows what a stage run wrote."""
    return run.quality == PASSED or table in UNFILTERED


def collection_of(path: str) -> str | None:
    """The collection in whose partition of a table a file lies; None for other tables."""
    steps = path.split("/")
    return steps[1].removeprefix("collection=") if len(steps) > 2 and steps[1].startswith("collection=") else None


def manifest_owner(warehouse: Warehouse, path: str) -> str | None:
    """The collection to which the stage of a manifest that cannot be read belongs, by where its files lie.

    None if no table of a collection has a file of this stage. Lists the whole warehouse.
    """
    stage, name = path.removeprefix("stage_runs/stage=").split("/", 1)
    names = {name, name.replace("part-", f"part-{stage}-", 1)}
    owners = {collection_of(entry) for entry in warehouse.storage.entries() if entry.split("/")[-1] in names}
    return next(iter(sorted(owners - {None}, key=str)), None)


def _damaged(warehouse: Warehouse, path: str, problem: str, cure: str = REBUILD) -> str:
    return str(DamagedFileError(f"damaged file {warehouse.storage.url(path)}", where=problem, cure=cure))
