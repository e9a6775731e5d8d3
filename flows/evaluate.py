"""Flow ``evaluate``: operators are judged per SAE feature and per rank against their ceilings."""

from prefect import flow

from flows.collect import collect
from flows.operators import operators
from flows.saes import saes
from flows.settings import Settings
from tasks.evaluate import evaluate_operators


@flow(name="evaluate", flow_run_name="evaluate {settings.model.name}")
def evaluate(
    settings: Settings,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    pair_keys: list[str] | None = None,
) -> None:
    """Feature transport, efficiency curves and subspaces of all pairs, in one pass over the test tokens."""
    collection = collection or collect(settings)
    sae_keys = saes(settings, collection) if sae_keys is None else sae_keys
    if pair_keys is None:
        operators(settings, collection, sae_keys)
    evaluate_operators(collection, sae_keys, settings.model, settings.operators, settings.evaluate)
