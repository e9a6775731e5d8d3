"""Running one flow from the command line, on the ephemeral Prefect server or the one that PREFECT_API_URL names."""

import os
from typing import Any

from ato.errors import DamagedFileError
from flows.engine.own_server import end_orphaned_servers, start_own_server
from flows.settings import Settings
from flows.stages import FLOWS
from tasks.engine.looking import Line, NotComplete, looking
from tasks.engine.progress import phase, say


def complete_result(name: str, settings: Settings) -> tuple[bool, Any]:
    """Whether all that a flow would do is done already, and its result if so; starts no server, loads no model.

    With a Prefect server at hand (``PREFECT_API_URL``) it never is: that server is to have a record of every run. What
    the flow says is said if all is complete, and before an error.
    """
    if os.environ.get("PREFECT_API_URL"):
        return False, None
    lines: list[Line] = []
    try:
        with looking(lines):
            result = FLOWS[name].load().fn(settings)
    except (NotComplete, DamagedFileError):  # a run makes damaged files again
        lines.clear()  # the run says it again
        return False, None
    finally:
        for line in lines:
            say(*line)
    return True, result


def run_flow(name: str, settings: Settings) -> Any:
    """Run the flow of that name and return its result."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    end_orphaned_servers()
    # The heartbeat thread sleeps in steps of a second and is joined at the end of every flow and subflow.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            with phase(name, "starting: libraries and Prefect's server"):
                start_own_server()
                return FLOWS[name].load()(settings)
        finally:
            APILogWorker.drain_all(timeout=5)  # while the server is still there to receive the last lines
            EventsWorker.drain_all(timeout=5)  # and the events that other flows wait for
