"""Flow ``explain``: explanations that others published of the selected features are fetched and checked."""

from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.explain.task import explain_features


@study_flow("explain")
def explain(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
) -> None:
    """Published explanations of the SAEs' selected features, believed where they fit our own logit lens."""
    collection, sae_keys = inputs_of("explain", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("explain", settings, collection):
        explain_features(settings.study(collection), sae_keys, settings.explain)
    conclude("explain", settings, collection)
