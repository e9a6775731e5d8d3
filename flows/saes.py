"""Flow ``saes``: sparse autoencoders are trained or loaded, and judged on held-out text."""

from prefect import flow

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.saes.task import obtain_saes


@flow(name="saes", flow_run_name=run_name)
def saes(settings: Settings = DEMO, collection: str | None = None, profile: Profile = FORM) -> list[str]:
    """An SAE for each layer of the settings; returns their keys."""
    settings = chosen(settings, profile)
    (collection,) = inputs_of("saes", settings, collection=collection)
    with stage_run("saes", settings, collection), fan_out(settings) as parts:
        keys = obtain_saes(settings.study(collection), settings.saes, parts)
    conclude("saes", settings, collection)
    return keys
