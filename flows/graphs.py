"""Flow ``graphs``: which features of a prompt make which others, and how much of that is plain transport."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.graphs.task import make_graphs


@study_flow("graphs")
def graphs(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
) -> list[str]:
    """Make the graphs of the prompts of the settings, check and compare them; returns a key per prompt."""
    collection, sae_keys = inputs_of("graphs", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("graphs", settings, collection), fan_out(settings) as parts:
        keys = make_graphs(settings.study(collection), sae_keys, settings.graphs, parts)
    conclude("graphs", settings, collection)
    return keys
