"""Parts of a stage's work: in this process, or on the workers of a Dask cluster.

A flow says ``with fan_out(settings) as parts`` and passes ``parts`` to its task. With one part the task does everything
itself, as a stream. With several it submits a task for each, which the flow's task runner sends to a worker; only keys,
paths and settings are sent, never arrays.
"""

import atexit
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL, temporary_settings

from ato.errors import UnavailableError
from flows.engine.environment import prepare_environment
from flows.settings import Settings
from tasks.engine.looking import is_looking
from tasks.settings import FanOutSettings
from warehouse.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from prefect_dask import DaskTaskRunner

LOCAL = "local"
"""In place of a scheduler's address: start a scheduler and workers on this machine."""
SECONDS = 30
"""Longest wait for a scheduler, and for its first worker."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_runner: ContextVar["DaskTaskRunner | None"] = ContextVar("runner", default=None)


@contextmanager
def fan_out(settings: Settings) -> Iterator[int]:
    """Inside, tasks that the flow submits run where the settings say; yields the number of parts to divide work into.

    Without a scheduler that is one, and nothing changes. Otherwise it is the number of workers, or two if there is only
    one, which then does both. A flow inside a flow uses the cluster of the outer one: a local cluster is started once
    per run. Use it inside a flow.

    Raises:
        UnavailableError: Dask is not installed, the scheduler does not answer, or no worker can run this program.
    """
    if not settings.fan_out.scheduler or is_looking():
        yield 1
        return
    with ExitStack() as stack:
        runner = _runner.get()
        if runner is None:
            runner = stack.enter_context(_dask_runner(settings.fan_out))
            token = _runner.set(runner)
            stack.callback(_runner.reset, token)
        context = FlowRunContext.get()
        assert context is not None  # only flows use it
        stack.enter_context(context.model_copy(update={"task_runner": runner}))
        # Workers find the server of this run, even a temporary one, and start none of their own.
        stack.enter_context(temporary_settings({PREFECT_API_URL: str(get_client(sync_client=True).api_url)}))
        yield max(2, len(runner.client.ncores()))


@contextmanager
def _dask_runner(settings: FanOutSettings) -> Iterator["DaskTaskRunner"]:
    """A task runner connected to the workers of a cluster."""
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")  # read at its first import, here and by workers
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise UnavailableError(
            "Dask is not installed", where=f"fan_out.scheduler={settings.scheduler}", cure="pip install -e '.[dask]'"
        ) from None
    with ExitStack() as stack:
        options: dict[str, Any] = {"address": settings.scheduler, "client_kwargs": {"timeout": SECONDS}}
        if settings.scheduler == LOCAL:
            options = {"cluster": stack.enter_context(_local_cluster(settings.workers))}
        else:
            _check_reachable_from_workers(settings.scheduler)
        runner = stack.enter_context(DaskTaskRunner(**options))
        where = f"fan_out.scheduler={settings.scheduler}"
        try:
            client = runner.client
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"the Dask scheduler does not answer ({error})",
                where=where,
                cure="start one with `dask scheduler`, or use fan_out.scheduler=local",
            ) from None
        try:
            client.wait_for_workers(1, timeout=SECONDS)
            _check_warehouses(client.run(_prepare_worker))
            if settings.scheduler == LOCAL:
                client.run(atexit.register, os._exit, 0)  # as `ato` does: interpreter shutdown takes seconds
        except TimeoutError:
            cure = f"start some with `dask worker {settings.scheduler} --nthreads 1`"
            raise UnavailableError("the Dask scheduler has no workers", where=where, cure=cure) from None
        except ImportError as error:
            cure = "install the same version of it on all machines"
            raise UnavailableError(f"Dask workers lack this program ({error})", where=where, cure=cure) from None
        yield runner


def _prepare_worker() -> str:
    """Prepare a worker's environment as in all processes of the platform; returns the root of its warehouse."""
    prepare_environment()
    return Warehouse().root


def _check_warehouses(roots: dict[str, str]) -> None:
    """Raise UnavailableError if a worker would write to another warehouse than this process."""
    own = Warehouse().root
    for worker, root in roots.items():
        if root != own:
            raise UnavailableError(
                "a Dask worker has another warehouse than this run",
                where=f"{worker} has {root}, not {own}",
                cure="start workers with the same ATO_WAREHOUSE: an object store, or a folder that all machines share",
            )


@contextmanager
def _local_cluster(workers: int) -> Iterator[Any]:
    """Worker processes on this machine that share its cores and listen on loopback only."""
    from distributed import LocalCluster

    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
    own = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    # Encrypted: anyone who can reach a scheduler can run code as its user. No memory limit: a worker above it would be
    # killed in the middle of a shard. No progress bars: those of several processes would overwrite one another.
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        memory_limit=0,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        security=True,
        silence_logs=logging.ERROR,
        env=own | {"TTY_COMPATIBLE": "0"},
    ) as cluster:
        yield cluster


def _check_reachable_from_workers(scheduler: str) -> None:
    """Workers on other machines need a Prefect server that they can reach."""
    if PREFECT_API_URL.value() or urlsplit(scheduler).hostname in _LOOPBACK:
        return
    raise UnavailableError(
        "Dask workers cannot reach the temporary Prefect server of this run",
        where=f"fan_out.scheduler={scheduler}",
        cure="set PREFECT_API_URL to a server that all machines reach",
    )
