"""What surrounds the work of a stage in a flow: the accelerator's slot, the failure's name, the result, the event.

A flow that is run by itself ends with the event ``ato.FLOW.complete``; the triggers in ``prefect.yaml`` start the next
flows with the collection and the settings of its payload. As part of another flow it sends none: that flow brings its
own inputs up to date.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext
from prefect.events import emit_event

from ato.errors import AtoError
from ato.numerics.freed_memory import return_freed_memory
from flows.engine.forms import is_generated, name_of
from flows.settings import Settings
from flows.stages import FLOWS, STAGES, joint_triggers, labels
from tasks.engine.looking import is_looking
from tasks.engine.progress import phase, say
from tasks.engine.server_calls import call_with_retry
from tasks.engine.work_clock import measured
from tasks.operators.pairs import pair_stages
from tasks.report.publish import materialise_marts, show_table
from warehouse.catalog.catalog import rows
from warehouse.datasets.corpus_files import corpus_label

ACCELERATOR = "accelerator"
"""Global concurrency limit that ``ato deploy`` registers: how many stages use the accelerator at once."""


@contextmanager
def stage_run(stage: str, settings: Settings, collection: str | None = None) -> Iterator[None]:
    """Surround the work of a stage: wait for the accelerator if it uses one; a failure names stage and collection.

    The clock of its stage runs begins anew once the accelerator is free.

    Args:
        stage: name of the stage.
        settings: of the run.
        collection: its key, once it is known.
    """
    of = collection or f"{settings.model.name} on {corpus_label(settings.collect.corpus)}"
    try:
        with measured() as clock, _slot(settings) as slot, phase(stage, "at work"):
            if slot is not None:
                clock.restart()
            yield
    except AtoError as error:
        error.args = (f"{stage} of {of}: {error}",)
        raise
    except Exception:
        say(stage, f"{of} failed; remove the cause and run it again: completed stages are skipped")
        raise
    finally:
        return_freed_memory()


def _slot(settings: Settings) -> Any:
    """A slot of the accelerator, where there is a server to share it out."""
    from ato.numerics.devices import choose_device

    if not os.environ.get("PREFECT_API_URL") or str(choose_device(settings.model.device)) == "cpu":
        return nullcontext()
    return _occupied()


@contextmanager
def _occupied() -> Iterator[str]:
    with concurrency(ACCELERATOR, strict=False):
        yield ACCELERATOR


def conclude(flow: str, settings: Settings, collection: str) -> None:
    """End a flow: materialise marts, show its main table, put the key into its name, send the events that start others.

    A name that a person typed stays as it is.

    Marts and events are left to the flow that runs by itself: as part of another one it would make marts that the next
    stage outdates. A look that has found all complete has nothing to end.
    """
    if is_looking():
        return
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or run.parent_task_run_id is None:
        materialise_marts(collection)
    if flow in STAGES and (query := STAGES[flow].query):
        show_table(flow, collection, rows(None, query, [collection]))
    if run is None:
        return
    # Also if the name does not change: this waits for a server that is restarting, so that the events reach it.
    rename = get_client(sync_client=True).set_flow_run_name
    ours = run.name == name_of(flow, settings, None) or is_generated(run.name)
    call_with_retry(rename, run.id, name_of(flow, settings, collection) if ours else run.name)
    if run.parent_task_run_id is None and os.environ.get("PREFECT_API_URL"):
        for event in events_after(flow, settings, collection):
            emit(event, settings, collection)


def events_after(flow: str, settings: Settings, collection: str) -> list[str]:
    """Events that follow a flow: its own, and those of several stages of which it was the last to complete."""
    joint = [
        event
        for event, stages in joint_triggers().items()
        if flow in stages and all(_comes_before(other, settings, collection) for other in stages if other != flow)
    ]
    return [FLOWS[flow].event, *joint]


def _comes_before(stage: str, settings: Settings, collection: str) -> bool:
    """Whether a stage is complete, and is not to run again after the one that has just ended."""
    if settings.needs_features and stage in ("features", "operators"):
        return stage == "features"
    if stage == "operators":  # the collection may hold operators of other settings too
        pairs = pair_stages(settings.study(collection), settings.operators)
        return all(pair.stage.complete for pair in pairs)
    committed = "select 1 from stage_runs where collection = ? and list_contains(?, stage) limit 1"
    return bool(rows(None, committed, [collection, list(STAGES[stage].commits)]))


def emit(event: str, settings: Settings, collection: str) -> None:
    """Send an event about a collection, with the settings that made it; triggers can match its labels."""
    emit_event(
        event,
        resource={
            "prefect.resource.id": f"ato.collection.{collection}",
            "prefect.resource.name": collection,
            **labels(settings),
        },
        payload={"collection": collection, "settings": settings.model_dump(mode="json")},
    )
