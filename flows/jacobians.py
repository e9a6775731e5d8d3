"""Flow ``jacobians``: mean derivatives between layers are measured in the running model."""

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.jacobians.task import measure_jacobians


@study_flow("jacobians")
def jacobians(settings: Settings = DEMO, collection: str | None = None) -> None:
    """The mean Jacobian of every pair of layers that has an operator."""
    (collection,) = inputs_of("jacobians", settings, collection=collection)
    with stage_run("jacobians", settings, collection), fan_out(settings) as parts:
        measure_jacobians(settings.study(collection), settings.operators.pairs, parts)
    conclude("jacobians", settings, collection)
