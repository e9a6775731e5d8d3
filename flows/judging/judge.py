"""The one judgement of settings, from the registry of stages; the command line, estimates and every flow ask it.

It reads the settings, and of the model its shape and files, nothing more: it takes milliseconds and loads no model.
``judge_text`` reads the corpus as well, as far as it takes to see that every fold and split gets documents.
"""

from collections.abc import Iterable, Iterator
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from ato.models.shapes import ModelShape
from flows.judging.faults import Fault, FaultySettings
from flows.judging.models import known_shape
from flows.stages import STAGES, StageSpec, stages_of
from tasks.engine.progress import say

if TYPE_CHECKING:
    from flows.settings import Settings


def judge(settings: "Settings", flow: str, *, only_stage: bool = False, tell: bool = False) -> None:
    """Raise if a flow cannot work under these settings.

    Args:
        settings: of the run.
        flow: a name of the command line; all stages that it brings up to date are judged.
        only_stage: only the stage of that name, whose inputs are there.
        tell: whether what does nothing under these settings is said.

    Raises:
        FaultySettings: all faults, a line each.
    """
    stages = [STAGES[flow]] if only_stage else stages_of(flow, settings)
    found = faults_of(settings, stages)
    if faults := [fault for fault in found if fault.stops]:
        raise FaultySettings(faults)
    for note in found if tell else ():
        say("settings", str(note))


def faults_of(settings: "Settings", stages: Iterable[StageSpec]) -> list[Fault]:
    """What is wrong with the settings of stages, in their order, each once."""
    shape = known_shape(settings.model.name)
    found = (fault for stage in stages for fault in _of_stage(stage, settings, shape))
    return list({str(fault): fault for fault in found}.values())


def _of_stage(stage: StageSpec, settings: "Settings", shape: ModelShape | None) -> Iterator[Fault]:
    if stage.judge:
        yield from resolve_name(stage.judge)(settings, shape)


def judge_text(settings: "Settings", flow: str) -> None:
    """Raise if the corpus is too small for folds, splits and interventions, see ``tasks.collect.reading.check_text``."""
    from tasks.collect.reading import check_text

    stages = {stage.name for stage in stages_of(flow, settings)}
    if "collect" in stages:
        check_text(settings.model, settings.collect, settings.operators, full_length="causal" in stages)
