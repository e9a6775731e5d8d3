"""Flow ``saes``: sparse autoencoders are trained or loaded, and judged on held-out text."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.saes.task import obtain_saes


@study_flow("saes")
def saes(settings: Settings = DEMO, collection: str | None = None) -> list[str]:
    """An SAE for each layer of the settings; returns their keys."""
    (collection,) = inputs_of("saes", settings, collection=collection)
    with stage_run("saes", settings, collection), fan_out(settings) as parts:
        keys = obtain_saes(settings.study(collection), settings.saes, parts)
    conclude("saes", settings, collection)
    return keys
