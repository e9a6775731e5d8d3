"""Flow ``entities``: which entities the model knows, which features say so, and what they cause."""

from prefect import flow

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.entities.task import study_entities


@flow(name="entities", flow_run_name=run_name)
def entities(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    pair_keys: list[str] | None = None,
    profile: Profile = FORM,
) -> None:
    """Ask about entities, grade the answers, find the features of knowing on train entities, test them on others."""
    settings = chosen(settings, profile)
    given = {"collection": collection, "sae_keys": sae_keys, "pair_keys": pair_keys}
    collection, sae_keys, _ = inputs_of("entities", settings, **given)
    with stage_run("entities", settings, collection), fan_out(settings) as parts:
        study_entities(settings.study(collection), sae_keys, settings.operators, settings.entities, parts)
    conclude("entities", settings, collection)
