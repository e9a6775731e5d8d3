"""Flow ``pipeline``: the whole study in one run, each stage skipped where its result is already there."""

from prefect import flow

from flows.collect import collect
from flows.evaluate import evaluate
from flows.features import features
from flows.operators import operators
from flows.saes import saes
from flows.settings import Settings
from tasks.publish import publish_results


@flow(name="pipeline", flow_run_name="pipeline {settings.model.name} {settings.collect.corpus}")
def pipeline(settings: Settings) -> str:
    """Collect, train, fit, judge and publish; returns the collection's key."""
    collection = collect(settings)
    sae_keys = saes(settings, collection)
    features(settings, collection, sae_keys)
    pair_keys = operators(settings, collection)
    evaluate(settings, collection, sae_keys, pair_keys)
    publish_results(collection)
    return collection
