"""Flow ``collect``: a corpus becomes sequences, residual activations and the moments of all layer pairs."""

from prefect import flow

from flows.settings import Settings
from tasks.collect import collect_residuals


@flow(name="collect", flow_run_name="collect {settings.model.name} {settings.collect.corpus}")
def collect(settings: Settings) -> str:
    """Run the model once over the corpus; returns the collection's key."""
    return collect_residuals(settings.model, settings.collecting, settings.layers, settings.operators)
