"""Flow ``saes``: sparse autoencoders are trained or loaded, and judged on held-out text."""

from prefect import flow

from flows.collect import collect
from flows.settings import Settings
from tasks.saes import obtain_saes


@flow(name="saes", flow_run_name="saes {settings.model.name}")
def saes(settings: Settings, collection: str | None = None) -> list[str]:
    """An SAE for each layer of the settings; returns their keys."""
    collection = collection or collect(settings)
    return obtain_saes(collection, settings.model, settings.saes, settings.evaluate)
