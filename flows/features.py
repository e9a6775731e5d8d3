"""Flow ``features``: statistics of every SAE feature on held-out text, then scores, selection and examples."""

from prefect import flow

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.features.task import measure_features, score_features


@flow(name="features", flow_run_name=run_name)
def features(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    profile: Profile = FORM,
) -> None:
    """Activation statistics of the SAEs' features; their quality scores, the selected ones and examples of these."""
    settings = chosen(settings, profile)
    collection, sae_keys = inputs_of("features", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("features", settings, collection), fan_out(settings) as parts:
        study = settings.study(collection)
        measure_features(study, sae_keys, parts)
        if settings.features.score:
            score_features(study, sae_keys, settings.features, parts)
    conclude("features", settings, collection)
