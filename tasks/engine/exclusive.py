"""Work that one process does at a time: whoever comes second waits for the lock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from ato.errors import DamagedFileError
from tasks.engine.looking import is_looking
from tasks.engine.progress import phase, say
from tasks.engine.study import Study
from tasks.engine.work_clock import measured
from warehouse.maintenance import repair
from warehouse.storage import locks
from warehouse.storage.warehouse import Warehouse

Work = TypeVar("Work", bound=Callable[..., Any])


@contextmanager
def exclusive(warehouse: Warehouse, work: str, collection: str) -> Iterator[None]:
    """Lock a piece of work on a collection against other processes; whoever comes second waits, and says for whom.

    The clock of its stages runs inside (see ``tasks.engine.work_clock``), without the time of waiting. A look needs no
    lock: it works on nothing.

    Check inside the block whether stages are complete: the other process may have completed them. The collection's
    manifests that cannot be read are removed before, and altered files after an error that names one, so that whoever
    runs it again rebuilds them.
    """
    if is_looking():
        yield
        return

    waited = False

    def say_who(holder: locks.Holder | None) -> None:
        nonlocal waited
        waited = True
        say(work, f"{collection}: waiting for another run ({holder or 'unknown'})")

    with measured() as clock, phase(work, "at work"), locks.held(warehouse, f"{work}-{collection}", say_who):
        if waited:
            clock.restart()
        for path in repair.discard_unreadable(warehouse, collection):
            say(work, f"{path} could not be read and is removed: its stage counts as not run, until its `ato run`")
        try:
            yield
        except DamagedFileError:
            for path in repair.discard_altered(warehouse, collection):
                say(work, f"{path} was altered after it was written and is removed: run the same command again")
            raise


def one_at_a_time(name: str) -> Callable[[Work], Work]:
    """Let a function, whose first argument is a study, run ``exclusive`` on its collection, under a lock of that name."""

    def decorate(work: Work) -> Work:
        @wraps(work)
        def waiting(study: Study, *args: Any, **options: Any) -> Any:
            with exclusive(study.warehouse, name, study.collection):
                return work(study, *args, **options)

        return cast(Work, waiting)

    return decorate
