"""Flow ``label``: what features fire on, descriptions of them, and how far these can be trusted."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.label.task import label_features


@study_flow("label")
def label(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
) -> list[str]:
    """Collect windows of the chosen features, describe them, and test descriptions; returns the labellings' keys."""
    collection, sae_keys = inputs_of("label", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("label", settings, collection), fan_out(settings) as parts:
        keys = label_features(settings.study(collection), sae_keys, settings.label, parts)
    conclude("label", settings, collection)
    return keys
