"""Flow ``causal``: transported residuals are put back into the running model."""

from prefect import flow

from flows.collect import collect
from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.stage_run import conclude, stage_run
from flows.features import features
from flows.operators import operators
from flows.saes import saes
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
    collection = collection or collect(settings)
    sae_keys = saes(settings, collection) if sae_keys is None else sae_keys
    if pair_keys is None:
        features(settings, collection, sae_keys)
        operators(settings, collection, sae_keys)
    with stage_run("causal", settings, collection):
        measure_causal(settings.study(collection), sae_keys, settings.operators, settings.causal)
    conclude("causal", settings, collection)
