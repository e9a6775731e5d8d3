"""Flow ``explain``: explanations that others published of the selected features are fetched and checked."""

from prefect import flow

from flows.collect import collect
from flows.features import features
from flows.saes import saes
from flows.settings import Settings
from tasks.explain import explain_features


@flow(name="explain", flow_run_name="explain {settings.model.name}")
def explain(settings: Settings, collection: str | None = None, sae_keys: list[str] | None = None) -> None:
    """Published explanations of the SAEs' selected features, believed where they fit our own logit lens."""
    collection = collection or collect(settings)
    if sae_keys is None:
        sae_keys = saes(settings, collection)
        features(settings, collection, sae_keys)
    explain_features(collection, sae_keys, settings.explain)
