"""Flow ``fate``: what becomes of features between layers, by weights, by operators and in the running model."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.fate.stages import FatePlan
from tasks.fate.task import follow_features


@study_flow("fate")
def fate(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
) -> None:
    """Link the features of all SAEs, and ablate the best at every source layer."""
    collection, sae_keys = inputs_of("fate", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("fate", settings, collection), fan_out(settings) as parts:
        plan = FatePlan(settings.operators, settings.evaluate, settings.fate)
        follow_features(settings.study(collection), sae_keys, plan, parts)
    conclude("fate", settings, collection)
