"""Flow ``operators``: transport operators are fitted, cross-validated, scored and registered."""

from prefect import flow

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.operators.task import fit_operators


@flow(name="operators", flow_run_name=run_name)
def operators(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    profile: Profile = FORM,
) -> list[str]:
    """Every method for every pair of layers; returns the keys of the pairs."""
    settings = chosen(settings, profile)
    collection, sae_keys = inputs_of("operators", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("operators", settings, collection), fan_out(settings) as parts:
        keys = fit_operators(settings.study(collection), sae_keys or [], settings.operators, parts)
    conclude("operators", settings, collection)
    return keys
