"""Flow ``entities``: which entities the model knows, which features say so, and what they cause."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.entities.task import study_entities


@study_flow("entities")
def entities(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    pair_keys: list[str] | None = None,
) -> None:
    """Ask about entities, grade the answers, find the features of knowing on train entities, test them on others."""
    given = {"collection": collection, "sae_keys": sae_keys, "pair_keys": pair_keys}
    collection, sae_keys, _ = inputs_of("entities", settings, **given)
    with stage_run("entities", settings, collection), fan_out(settings) as parts:
        study_entities(settings.study(collection), sae_keys, settings.operators, settings.entities, parts)
    conclude("entities", settings, collection)
