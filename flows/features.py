"""Flow ``features``: statistics of every SAE feature on held-out text, then scores, selection and examples."""

from prefect import flow

from flows.collect import collect
from flows.saes import saes
from flows.settings import Settings
from tasks.features import measure_features, score_features


@flow(name="features", flow_run_name="features {settings.model.name}")
def features(settings: Settings, collection: str | None = None, sae_keys: list[str] | None = None) -> None:
    """Activation statistics of the SAEs' features; their quality scores, the selected ones and examples of these."""
    collection = collection or collect(settings)
    sae_keys = saes(settings, collection) if sae_keys is None else sae_keys
    measure_features(collection, sae_keys, settings.model)
    if settings.features.score:
        score_features(collection, sae_keys, settings.model, settings.features, settings.evaluate)
