"""What a flow reads: the stages before its own are brought up to date, and their keys are handed on."""

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

from flows.judging.judge import judge
from flows.settings import Settings
from flows.stages import StageSpec, stages_of
from tasks.engine.looking import is_looking
from tasks.engine.work_clock import measured


def inputs_of(stage: str, settings: Settings, **keys: Any) -> tuple[Any, ...]:
    """Keys of what a stage reads, in the order of the arguments; if any is None, the stages that it needs run first.

    Before that the settings are judged.

    A stage whose key is given does not run. If all are given, nothing runs: whoever gives them has done what is needed.

    Args:
        stage: name of the stage.
        settings: of the run.
        **keys: parameters of the flow that name results of earlier stages (``collection``, ``sae_keys`` ...).
    """
    given = None not in keys.values()
    judge(settings, stage, only_stage=given, tell=not given)
    found = dict(keys)
    if None in keys.values():
        run_stages(stages_of(stage, settings)[:-1], settings, found)
    return tuple(found[name] for name in keys)


def run_stages(
    stages: Iterable[StageSpec], settings: Settings, keys: dict[str, Any], on_done: Callable[[], None] = lambda: None
) -> None:
    """Run the flows of stages in order, each with the keys that it takes; keys that they return are added to ``keys``.

    Args:
        stages: in the order of the pipeline; left out are those whose key is there.
        settings: of the run.
        keys: parameter -> key; None counts as missing.
        on_done: called after each stage.
    """
    with measured():  # from stage to stage: ending a flow and starting the next is a part of the next one's time
        for stage in stages:
            if stage.gives is None or keys.get(stage.gives) is None:
                flow = stage.load()
                takes = {name: keys[name] for name in signature(flow).parameters if keys.get(name) is not None}
                result = (flow.fn if is_looking() else flow)(settings, **takes)
                if stage.gives is not None:
                    keys[stage.gives] = result
            on_done()
