"""Flow ``causal``: transported residuals are put back into the running model."""

from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.causal.task import measure_causal


@study_flow("causal")
def causal(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    pair_keys: list[str] | None = None,
) -> None:
    """Next-token loss and KL divergence under every intervention, on test sequences."""
    given = {"collection": collection, "sae_keys": sae_keys, "pair_keys": pair_keys}
    collection, sae_keys, _ = inputs_of("causal", settings, **given)
    with stage_run("causal", settings, collection):
        measure_causal(settings.study(collection), sae_keys, settings.operators, settings.causal)
    conclude("causal", settings, collection)
