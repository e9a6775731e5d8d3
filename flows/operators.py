"""Flow ``operators``: transport operators are fitted, cross-validated, scored and registered."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.operators.task import fit_operators


@study_flow("operators")
def operators(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
) -> list[str]:
    """Every method for every pair of layers; returns the keys of the pairs."""
    collection, sae_keys = inputs_of("operators", settings, collection=collection, sae_keys=sae_keys)
    with stage_run("operators", settings, collection), fan_out(settings) as parts:
        keys = fit_operators(settings.study(collection), sae_keys or [], settings.operators, parts)
    conclude("operators", settings, collection)
    return keys
