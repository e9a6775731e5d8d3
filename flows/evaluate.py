"""Flow ``evaluate``: operators are judged per SAE feature and per rank against their ceilings."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.evaluate.task import evaluate_operators


@study_flow("evaluate")
def evaluate(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    pair_keys: list[str] | None = None,
) -> None:
    """Feature transport, efficiency curves and subspaces of all pairs, in one pass over the test tokens."""
    given = {"collection": collection, "sae_keys": sae_keys, "pair_keys": pair_keys}
    collection, sae_keys, _ = inputs_of("evaluate", settings, **given)
    with stage_run("evaluate", settings, collection), fan_out(settings) as parts:
        evaluate_operators(settings.study(collection), sae_keys, settings.operators, settings.evaluate, parts)
    conclude("evaluate", settings, collection)
