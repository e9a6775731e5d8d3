"""Flow ``evaluate``: operators are judged per SAE feature and per rank against their ceilings."""

from prefect import flow

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.evaluate.task import evaluate_operators


@flow(name="evaluate", flow_run_name=run_name)
def evaluate(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    pair_keys: list[str] | None = None,
    profile: Profile = FORM,
) -> None:
    """Feature transport, efficiency curves and subspaces of all pairs, in one pass over the test tokens."""
    settings = chosen(settings, profile)
    given = {"collection": collection, "sae_keys": sae_keys, "pair_keys": pair_keys}
    collection, sae_keys, _ = inputs_of("evaluate", settings, **given)
    with stage_run("evaluate", settings, collection), fan_out(settings) as parts:
        evaluate_operators(settings.study(collection), sae_keys, settings.operators, settings.evaluate, parts)
    conclude("evaluate", settings, collection)
