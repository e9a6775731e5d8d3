"""Flow ``fate``: what becomes of features between layers, by weights, by operators and in the running model."""

from prefect import flow

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.fate.stages import FatePlan
from tasks.fate.task import follow_features


@flow(name="fate", flow_run_name=run_name)
def fate(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    profile: Profile = FORM,
) -> None:
    """Link the features of all SAEs, and ablate the best at every source layer."""
    settings = chosen(settings, profile)
    collection, sae_keys = inputs_of("fate", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("fate", settings, collection), fan_out(settings) as parts:
        plan = FatePlan(settings.operators, settings.evaluate, settings.fate)
        follow_features(settings.study(collection), sae_keys, plan, parts)
    conclude("fate", settings, collection)
