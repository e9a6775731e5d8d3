"""Work that one process does at a time: whoever comes second waits for the lock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from tasks.engine.looking import is_looking
from tasks.engine.progress import say
from tasks.engine.study import Study
from warehouse.storage import locks
from warehouse.storage.warehouse import Warehouse

Work = TypeVar("Work", bound=Callable[..., Any])


@contextmanager
def exclusive(warehouse: Warehouse, work: str, collection: str) -> Iterator[None]:
    """Lock a piece of work on a collection against other processes; whoever comes second waits, and says for whom.

    A look needs no lock: it works on nothing.

    Check inside the block whether stages are complete: the other process may have completed them.
    """
    if is_looking():
        yield
        return

    def say_who(holder: locks.Holder | None) -> None:
        say(work, f"{collection}: waiting for another run ({holder or 'unknown'})")

    with locks.held(warehouse, f"{work}-{collection}", say_who):
        yield


def one_at_a_time(name: str) -> Callable[[Work], Work]:
    """Let a function, whose first argument is a study, run ``exclusive`` on its collection, under a lock of that name."""

    def decorate(work: Work) -> Work:
        @wraps(work)
        def waiting(study: Study, *args: Any, **options: Any) -> Any:
            with exclusive(study.warehouse, name, study.collection):
                return work(study, *args, **options)

        return cast(Work, waiting)

    return decorate
