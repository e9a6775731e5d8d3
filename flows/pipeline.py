"""Flow ``pipeline``: the whole study in one run, each stage skipped where its result is already there."""

from prefect import flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.causal import causal
from flows.collect import collect
from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.stage_run import conclude
from flows.evaluate import evaluate
from flows.explain import explain
from flows.features import features
from flows.operators import operators
from flows.report import report
from flows.saes import saes
from flows.settings import Settings
from tasks.engine.progress import Progress, say


@flow(name="pipeline", flow_run_name=run_name)
def pipeline(settings: Settings = DEMO, profile: Profile = FORM) -> str:
    """Collect, train, score, explain, fit, judge, intervene, publish and report; returns the collection's key."""
    settings = chosen(settings, profile)
    # This run has a heartbeat of its own; that of each stage would cost up to a second at the stage's end.
    quick = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    with quick, fan_out(settings), Progress("pipeline", 8, "stages", bar=False) as progress:
        collection = progress.after(collect(settings))
        sae_keys = progress.after(saes(settings, collection))
        progress.after(features(settings, collection, sae_keys))
        progress.after(explain(settings, collection, sae_keys))
        pair_keys = progress.after(operators(settings, collection, sae_keys))
        progress.after(evaluate(settings, collection, sae_keys, pair_keys))
        if settings.can_intervene:
            progress.after(causal(settings, collection, sae_keys, pair_keys))
        else:
            say("causal", "only residual streams of the same position can be put back: skipped")
            progress.advance()
        progress.after(report(settings, collection))
    conclude("pipeline", settings, collection)
    return collection
