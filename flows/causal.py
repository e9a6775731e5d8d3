"""Flow ``causal``: transported residuals are put back into the running model."""

from prefect import flow

from flows.collect import collect
from flows.features import features
from flows.operators import operators
from flows.saes import saes
from flows.settings import Settings
from tasks.causal import measure_causal


@flow(name="causal", flow_run_name="causal {settings.model.name}")
def causal(
    settings: Settings,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    pair_keys: list[str] | None = None,
) -> None:
    """Next-token loss and KL divergence under every intervention, on test sequences."""
    collection = collection or collect(settings)
    sae_keys = saes(settings, collection) if sae_keys is None else sae_keys
    if pair_keys is None:
        features(settings, collection, sae_keys)
        operators(settings, collection, sae_keys)
    measure_causal(collection, sae_keys, settings.model, settings.operators, settings.evaluate, settings.causal)
