"""Flow ``features``: statistics of every SAE feature on held-out text, then scores, selection and examples."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.features.task import measure_features, score_features


@study_flow("features")
def features(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
) -> None:
    """Activation statistics of the SAEs' features; their quality scores, the selected ones and examples of these."""
    collection, sae_keys = inputs_of("features", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("features", settings, collection), fan_out(settings) as parts:
        study = settings.study(collection)
        measure_features(study, sae_keys, parts)
        if settings.features.score:
            score_features(study, sae_keys, settings.features, parts)
    conclude("features", settings, collection)
