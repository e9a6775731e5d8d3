"""Running one flow from the command line, on the ephemeral Prefect server or the one that PREFECT_API_URL names."""

import importlib
from typing import Any

from flows.settings import Settings


def run_flow(name: str, settings: Settings) -> Any:
    """Run the flow of that name and return what it returns."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    # The heartbeat thread sleeps in steps of a second and is joined at the end of every flow and subflow.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        return flow(settings)
