"""What surrounds the work of a stage in a flow: the accelerator's slot, the failure's name, the result, the event.

A flow that is run by itself ends with the event ``ato.FLOW.complete``; the triggers in ``prefect.yaml`` start the next
flows with the collection and the settings of its payload. As a part of another flow it leaves that to the flow it is
part of, which brings its own inputs up to date.
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
from flows.engine.forms import name_of
from flows.engine.stage_queries import STAGE_QUERIES, STAGES_DONE
from flows.settings import Settings
from tasks.engine.progress import say
from tasks.engine.server_calls import tell
from tasks.operators.pairs import pair_stages
from tasks.report.publish import show_results, show_table
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

ACCELERATOR = "accelerator"
"""Global concurrency limit that ``ato deploy`` registers: so many stages use the accelerator at once."""
BOTH = "ato.features-and-operators.complete"
"""Event after whichever of the two comes last: what evaluations and interventions need."""


@contextmanager
def stage_run(stage: str, settings: Settings, collection: str | None = None) -> Iterator[None]:
    """Work of one stage: waits for the accelerator if it uses one; a failure names stage and collection.

    Args:
        stage: its name.
        settings: of the run.
        collection: key, where it is known.
    """
    of = collection or f"{settings.model.name} on {settings.collect.corpus}"
    try:
        with _slot(settings):
            yield
    except AtoError as error:
        error.args = (f"{stage} of {of}: {error}",)
        raise
    except Exception:
        say(stage, f"{of} failed; when the cause is gone, run it again: what is complete is skipped")
        raise


def _slot(settings: Settings) -> Any:
    """A slot of the accelerator, where a server is there to hand it out."""
    from ato.numerics.devices import choose_device

    if not os.environ.get("PREFECT_API_URL") or str(choose_device(settings.model.device)) == "cpu":
        return nullcontext()
    return concurrency(ACCELERATOR, strict=False)


def conclude(stage: str, settings: Settings, collection: str) -> None:
    """Show the stage's result, put the key into the run's name, and tell the flows that wait for this one."""
    if stage in STAGE_QUERIES:
        show_table(stage, collection, rows(None, STAGE_QUERIES[stage].format(key=collection)))
    if stage == "pipeline":
        show_results(collection, rows(None, STAGES_DONE, [collection]))
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    # Also where the name stays what it was: it waits for a server that starts anew, so that the events reach it.
    tell(get_client(sync_client=True).set_flow_run_name, context.flow_run.id, name_of(stage, settings, collection))
    if context.flow_run.parent_task_run_id is None and os.environ.get("PREFECT_API_URL"):
        for event in events_after(stage, settings, collection):
            emit(event, settings, collection)


def events_after(stage: str, settings: Settings, collection: str) -> list[str]:
    """Events that follow from a stage: its own, and ``BOTH`` if the other one of features and operators is there too."""
    own = [f"ato.{stage}.complete"]
    if stage == "operators" and (needs_features(settings) or _scored(collection)):
        return [*own, BOTH]
    if stage == "features" and not needs_features(settings):
        pairs = pair_stages(Warehouse(), collection, settings.operators, settings.evaluate)
        return [*own, BOTH] if all(pair.stage.complete for pair in pairs) else own
    return own


def needs_features(settings: Settings) -> bool:
    """Whether operators are fitted for selected features, and so after them."""
    return settings.operators.for_features


def _scored(collection: str) -> bool:
    found = "select 1 from stage_runs where collection = ? and stage in ('features', 'feature_scores') limit 1"
    return bool(rows(None, found, [collection]))


def emit(event: str, settings: Settings, collection: str) -> None:
    """Send an event about a collection, with the settings that made it; triggers can match its labels."""
    emit_event(
        event,
        resource={
            "prefect.resource.id": f"ato.collection.{collection}",
            "prefect.resource.name": collection,
            "ato.operators-follow": "features" if needs_features(settings) else "collect",
            "ato.can-intervene": "yes" if settings.can_intervene else "no",
        },
        payload={"collection": collection, "settings": settings.model_dump(mode="json")},
    )
