"""Flow ``collect``: a corpus becomes sequences, residual activations and the moments of all layer pairs."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.stage_run import conclude, stage_run
from flows.judging.judge import judge
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.collect.task import collect_residuals


@study_flow("collect")
def collect(settings: Settings = DEMO) -> str:
    """Run the model once over the corpus; returns the collection's key."""
    judge(settings, "collect")
    with stage_run("collect", settings), fan_out(settings) as parts:
        collection = collect_residuals(settings.model, settings.collecting, settings.layers, settings.operators, parts)
    conclude("collect", settings, collection)
    return collection
