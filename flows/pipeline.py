"""Flow ``pipeline``: the whole study in one run; completed stages are skipped."""

from typing import Any

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import run_stages
from flows.engine.stage_run import conclude
from flows.judging.judge import judge
from flows.settings import Settings
from flows.stages import STAGES, stages_of
from flows.study_flow import study_flow
from tasks.engine.looking import is_looking
from tasks.engine.progress import Progress, say
from tasks.report.publish import show_results
from warehouse.catalog.catalog import rows

STAGES_DONE = """select stage, count(*) as parts, sum(seconds) as seconds, sum(cpu_seconds) as cpu_seconds,
    max(peak_memory) as peak_memory, sum(bytes)::bigint as bytes,
    if(bool_and(quality = 'passed'), 'passed', 'failed') as quality
    from stage_runs where collection = ? group by stage order by min(started_at)"""
"""What was done on a collection, and what it cost, a row a stage."""


@study_flow("pipeline")
def pipeline(settings: Settings = DEMO) -> str:
    """Collect, train, score, explain, fit, evaluate, intervene, publish and report; returns the collection's key."""
    judge(settings, "pipeline", tell=True)
    stages = stages_of("pipeline", settings)
    for stage in STAGES.values():
        if stage not in stages and stage.only is not None:
            say(stage.name, f"{stage.only.otherwise}: skipped")
    keys: dict[str, Any] = {}
    # This run has a heartbeat of its own; that of each stage would cost up to a second at the stage's end.
    quick = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    with quick, fan_out(settings), Progress("pipeline", len(stages), "stages") as progress:
        run_stages(stages, settings, keys, progress.advance)
    collection = keys["collection"]
    if not is_looking():
        show_results(collection, rows(None, STAGES_DONE, [collection]))
    conclude("pipeline", settings, collection)
    return collection
