"""Flow ``operators``: transport operators are fitted, cross-validated, scored and registered."""

from prefect import flow

from flows.collect import collect
from flows.features import features
from flows.saes import saes
from flows.settings import Settings
from tasks.operators import fit_operators
from tasks.pairs import FOR_FEATURES


@flow(name="operators", flow_run_name="operators {settings.model.name}")
def operators(settings: Settings, collection: str | None = None, sae_keys: list[str] | None = None) -> list[str]:
    """Every method for every pair of layers; returns the keys of the pairs."""
    collection = collection or collect(settings)
    if sae_keys is None and FOR_FEATURES in settings.operators.methods:
        sae_keys = saes(settings, collection)
        features(settings, collection, sae_keys)
    return fit_operators(collection, sae_keys or [], settings.model, settings.operators, settings.evaluate)
