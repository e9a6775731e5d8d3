"""Flow ``sae_study``: many sparse autoencoders trained in one pass, compared with each other and with baselines."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.sae_study.task import study_saes


@study_flow("sae_study")
def sae_study(settings: Settings = DEMO, collection: str | None = None) -> str:
    """Train the SAEs of the settings, judge all on the same held-out text, look closer at some; returns the study's key."""
    (collection,) = inputs_of("sae_study", settings, collection=collection)
    with stage_run("sae_study", settings, collection), fan_out(settings) as parts:
        study = study_saes(settings.study(collection), settings.studied_saes, parts, settings.operators)
    conclude("sae_study", settings, collection)
    return study
