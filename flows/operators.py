"""Flow ``operators``: transport operators are fitted, cross-validated, scored and registered."""

from prefect import flow

from flows.collect import collect
from flows.settings import Settings
from tasks.operators import fit_operators


@flow(name="operators", flow_run_name="operators {settings.model.name}")
def operators(settings: Settings, collection: str | None = None) -> list[str]:
    """Every method for every pair of layers; returns the keys of the pairs."""
    collection = collection or collect(settings)
    return fit_operators(collection, settings.model, settings.operators, settings.evaluate)
