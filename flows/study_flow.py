"""What every flow is made with: a Prefect flow of a function of settings, with the parameters of its form and an estimate."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from prefect import flow as prefect_flow
from prefect.artifacts import create_table_artifact
from prefect.states import Completed

from flows.engine.forms import FORM, Common, Profile, Stages, chosen, run_name
from flows.estimates.estimate import duration, notes, print_estimate, quantity, size
from flows.judging.judge import judge, judge_text
from flows.settings import Settings
from tasks.engine.server_calls import call_with_retry


def study_flow(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Make a Prefect flow of a function that takes settings and the keys of what it reads.

    The flow also takes ``profile``, ``common`` and ``stages``, which replace or change the settings, and ``estimate``: then
    it publishes and prints the estimate, and starts nothing.
    """

    def made(function: Callable[..., Any]) -> Any:
        own = inspect.signature(function)
        added = {
            "profile": (Profile, FORM),
            "common": (Common | None, None),
            "stages": (Stages | None, None),
            "estimate": (bool, False),
        }
        kind = inspect.Parameter.KEYWORD_ONLY
        more = [inspect.Parameter(n, kind, annotation=a, default=d) for n, (a, d) in added.items()]

        @wraps(function)
        def run(
            *given: Any,
            profile: str = FORM,
            common: Any = None,
            stages: Any = None,
            estimate: bool = False,
            **named: Any,
        ) -> Any:
            bound = own.bind(*given, **named)
            bound.apply_defaults()
            settings = chosen(bound.arguments["settings"], profile, common, stages)
            if estimate:
                return publish_estimate(settings, name)
            bound.arguments["settings"] = settings
            return function(*bound.args, **bound.kwargs)

        run.__signature__ = own.replace(parameters=[*own.parameters.values(), *more])  # type: ignore[attr-defined]
        run.__annotations__ = {**function.__annotations__, **{n: a for n, (a, _) in added.items()}}
        return prefect_flow(name=name, flow_run_name=run_name)(run)

    return made


def publish_estimate(settings: Settings, flow: str) -> Any:
    """Print the estimate of a flow and publish it as an artifact of the run; returns the state in which the run ends.

    Raises:
        FaultySettings: a run with these settings would fail.
        ModelError, UnavailableError: the model's shape is not known.
    """
    judge(settings, flow)
    judge_text(settings, flow)
    found = print_estimate(settings, flow)
    table = [
        {
            "stage": stage,
            "time": duration(of.seconds),
            "memory": size(of.memory_bytes),
            "disk": size(of.disk_bytes),
            "operations": quantity(of.work.flops, "FLOP"),
        }
        for stage, of in found.by_stage.items()
    ]
    total = f"about {duration(found.seconds)}, {size(found.memory_bytes)} of memory, {size(found.disk_bytes)} of disk"
    call_with_retry(
        create_table_artifact,
        table=table,
        key=f"estimate-{flow}".replace("_", "-"),
        description=f"**Estimate of {flow} with {settings.model.name}: {total}.** "
        + " ".join(notes(found.rates, settings, flow)),
    )
    return Completed(message=f"Only estimated, see the artifact: {total}. Nothing was started")
