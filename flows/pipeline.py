"""Flow ``pipeline``: the whole study in one run, each stage skipped where its result is already there."""

from prefect import flow

from flows.causal import causal
from flows.collect import collect
from flows.evaluate import evaluate
from flows.explain import explain
from flows.features import features
from flows.operators import operators
from flows.report import report
from flows.saes import saes
from flows.settings import Settings
from tasks.progress import say
from tasks.publish import publish_results


@flow(name="pipeline", flow_run_name="pipeline {settings.model.name} {settings.collect.corpus}")
def pipeline(settings: Settings) -> str:
    """Collect, train, score, explain, fit, judge, intervene, publish and report; returns the collection's key."""
    collection = collect(settings)
    sae_keys = saes(settings, collection)
    features(settings, collection, sae_keys)
    explain(settings, collection, sae_keys)
    pair_keys = operators(settings, collection, sae_keys)
    evaluate(settings, collection, sae_keys, pair_keys)
    if settings.can_intervene:
        causal(settings, collection, sae_keys, pair_keys)
    else:
        say("causal", "only residual streams of the same position can be put back: skipped")
    publish_results(collection)
    report(settings, collection)
    return collection
