"""Recovery of runs that die: automations that ``ato deploy`` registers, and what ``ato up`` adds to them.

The server learns that a run died from its worker or, if that died too, from the silence of the run; it then schedules
the same run again. The run resumes after the last complete shard: completed stages are skipped.
A server that restarts less than five minutes after a run's last change of state takes up to fifteen minutes to react to
the next one: Prefect waits that long for events that it may have missed. And what a worker reports while the server is
away is lost. ``ato up`` therefore looks after the runs of its own machine by itself, see ``RunsHere``.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from flows.local.prefect_api import post

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events import AutomationCore

MOST_RESTARTS = 3
"""Restarts of one run after crashes: a run that always crashes must not go on forever."""
PAUSE = timedelta(seconds=10)
"""Time between a crash and the next attempt."""
SILENCE = timedelta(minutes=10)
"""A run without a sign of life for this long has crashed; Prefect's default is a heartbeat every three minutes."""
TAG = "prefect.tag.ato"
"""Resource id of the tag of our deployments and their runs."""
UNDER_WAY = ("PENDING", "RUNNING", "CANCELLING")
"""States of runs that have, or had, a process."""


def automations() -> Iterator["AutomationCore"]:
    """The two automations of the server; they apply to the runs of every worker."""
    from prefect.client.schemas.objects import StateType
    from prefect.events import AutomationCore, ChangeFlowRunState, EventTrigger, Posture, ResourceSpecification

    ours = ResourceSpecification({"prefect.resource.id": TAG, "prefect.resource.role": "tag"})
    counts = [str(n) for n in range(1, MOST_RESTARTS + 1)]
    yield AutomationCore(
        name="ato crashed runs go again",
        description=f"The same run, at most {MOST_RESTARTS} times; complete stages and shards are skipped",
        # Some seconds after the last event of the run: a worker reports a crash twice.
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.Crashed"},
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*", "prefect.run-count": counts}),
            match_related=ours,
            for_each={"prefect.resource.id"},
            threshold=1,
            within=PAUSE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.SCHEDULED, name="Resuming", message="its process died; it resumes where it stopped"
            )
        ],
    )
    yield AutomationCore(
        name="ato silent runs have crashed",
        description=f"No heartbeat for {SILENCE.seconds // 60} minutes: machine, worker and run are gone",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ours,
            for_each={"prefect.resource.id"},
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message="no sign of life from its process")
        ],
    )


def register_automations(client: "SyncPrefectClient") -> None:
    """Create or update the automations; one that was switched off in the pages stays off."""
    for automation in automations():
        there = client.read_automations_by_name(automation.name)
        if there:
            client.update_automation(there[0].id, automation.model_copy(update={"enabled": there[0].enabled}))
        else:
            client.create_automation(automation)


def resume_all(api: str) -> int:
    """Schedule runs of deployments again whose processes ended with the platform; returns how many.

    Call it before the workers start: until then no run of this server has a process. Subflows get new runs.
    """
    resumed = 0
    for run in _runs(api):
        if run["state_type"] == "CANCELLING":
            _set_state(api, run, "CANCELLED", "Cancelled")
        elif run["deployment_id"] is None:
            _set_state(api, run, "CRASHED", "Crashed")
        else:
            _set_state(api, run, "SCHEDULED", "Resuming")
            resumed += 1
    return resumed


@dataclass(frozen=True)
class LostWorker:
    """A worker of this machine that died, and the runs that it left behind, whose processes have been ended."""

    pool: str
    run_ids: frozenset[str]

    def report(self, api: str) -> bool:
        """Schedule its runs again unless restarted too often, and pending ones of the pool; False if no server answers."""
        try:
            for run in _runs(api):
                if run["work_pool_name"] == self.pool and run["state_type"] == "PENDING":
                    _set_state(api, run, "SCHEDULED", "Resuming")
                elif run["id"] in self.run_ids:
                    _set_state(api, run, *_next_state(run))
        except httpx.HTTPError:
            return False
        return True


def lost_worker(pool: str, worker: str, token: str) -> LostWorker:
    """End the flow runs of a worker that died: they must not run beside those of its successor.

    Args:
        pool: of the worker.
        worker: its name, which Prefect puts in the environment of its runs.
        token: of the ``ato up`` that started it.
    """
    run_ids = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if environment.get("PREFECT__WORKER_NAME") == worker and environment.get("ATO_UP") == token:
                run_ids.add(environment.get("PREFECT__FLOW_RUN_ID", ""))
                process.kill()
    return LostWorker(pool, frozenset(run_ids - {""}))


class RunsHere:
    """Flow runs of an ``ato up`` on this machine: one whose process is gone, and that nobody schedules, goes again.

    Args:
        token: of the ``ato up`` whose workers started them.
        patience: seconds that a worker and the automations have to say the same before.
    """

    def __init__(self, token: str, patience: float = 2 * PAUSE.total_seconds()):
        self._token, self._patience = token, patience
        self._last_seen: dict[str, float] = {}

    def look(self, api: str) -> None:
        """Note the runs that have a process, and schedule those again that lost theirs; a server away is asked later."""
        now = time.monotonic()
        self._last_seen |= dict.fromkeys(_runs_with_process(self._token), now)
        gone = [run for run, seen in self._last_seen.items() if now - seen > self._patience]
        with suppress(httpx.HTTPError):
            for run in _runs(api, ("RUNNING", "CANCELLING", "CRASHED"), gone) if gone else ():
                _set_state(api, run, *_next_state(run))
            for run_id in gone:
                del self._last_seen[run_id]


def _runs_with_process(token: str) -> Iterator[str]:
    """Ids of the flow runs that have a process with this token in its environment."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if environment.get("ATO_UP") == token and (run_id := environment.get("PREFECT__FLOW_RUN_ID")):
                yield run_id


def _next_state(run: dict[str, Any]) -> tuple[str, str]:
    """Type and name of the state of a run that has lost its process."""
    if run["state_type"] == "CANCELLING":
        return "CANCELLED", "Cancelled"
    return ("SCHEDULED", "Resuming") if run["run_count"] <= MOST_RESTARTS else ("CRASHED", "Crashed")


def _runs(api: str, states: Sequence[str] = UNDER_WAY, of: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Flow runs in some states; of all runs, or of those with the given ids."""
    which: dict[str, Any] = {"state": {"type": {"any_": list(states)}}}
    chosen = which if of is None else which | {"id": {"any_": list(of)}}
    found: list[dict[str, Any]] = post(api, "flow_runs/filter", {"flow_runs": chosen})
    return found


def _set_state(api: str, run: dict[str, Any], kind: str, name: str) -> None:
    state = {"type": kind, "name": name, "message": "its process ended with the platform"}
    post(api, f"flow_runs/{run['id']}/set_state", {"state": state, "force": False})
