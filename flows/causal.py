"""Flow ``causal``: transported residuals are put back into the running model."""

from prefect import flow

from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.causal.task import measure_causal


@flow(name="causal", flow_run_name=run_name)
def causal(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    pair_keys: list[str] | None = None,
    profile: Profile = FORM,
) -> None:
    """Next-token loss and KL divergence under every intervention, on test sequences."""
    settings = chosen(settings, profile)
    given = {"collection": collection, "sae_keys": sae_keys, "pair_keys": pair_keys}
    collection, sae_keys, _ = inputs_of("causal", settings, **given)
    with stage_run("causal", settings, collection):
        measure_causal(settings.study(collection), sae_keys, settings.operators, settings.causal)
    conclude("causal", settings, collection)
