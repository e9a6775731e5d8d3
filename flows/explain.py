"""Flow ``explain``: explanations that others published of the selected features are fetched and checked."""

from prefect import flow

from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.explain.task import explain_features


@flow(name="explain", flow_run_name=run_name)
def explain(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    profile: Profile = FORM,
) -> None:
    """Published explanations of the SAEs' selected features, believed where they fit our own logit lens."""
    settings = chosen(settings, profile)
    collection, sae_keys = inputs_of("explain", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("explain", settings, collection):
        explain_features(settings.study(collection), sae_keys, settings.explain)
    conclude("explain", settings, collection)
