"""Work of comparisons, counted as in ``flows.estimates.stage_costs``."""

from dataclasses import fields

from ato.errors import AtoError
from ato.models.checkpoints import checkpoint_folders
from ato.models.shapes import ModelShape
from flows.estimates.sizes import sae_widths
from flows.estimates.stage_costs import StageWork, collect_work, evaluate_work, operators_work
from flows.settings import Settings
from tasks.compare.stages import only_method

ROW_BYTES = 200
"""Of a feature's row."""


def compare_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Of each other: the model runs over the text, its operators are fitted; then two passes judge features."""
    operators = only_method(settings.operators, settings.compare.method)
    other = settings.model_copy(update={"operators": operators})
    n_models, n = n_compared(settings)
    widths = sae_widths(settings)
    judging = evaluate_work(other, shape)
    parts = [collect_work(other, shape)] * n_models + [operators_work(other, shape)] * n + [judging] * (2 * n + 1)
    rows = sum(widths.get(target, 0) for _, target in operators.pairs)
    summed = {
        field.name: sum(getattr(part, field.name) for part in parts)
        for field in fields(StageWork)
        if field.name not in ("memory_bytes", "disk_bytes")
    }
    return StageWork(
        **summed,
        memory_bytes=max((part.memory_bytes for part in parts), default=0),
        disk_bytes=n_models * collect_work(other, shape).disk_bytes + n * rows * ROW_BYTES,
    )


def n_compared(settings: Settings) -> tuple[int, int]:
    """(models that are collected, all that is compared); a folder that cannot be read counts as one."""
    n_models = sum(map(_checkpoints, settings.compare.models))
    return n_models, n_models + len(settings.compare.collections)


def _checkpoints(name: str) -> int:
    try:
        return len(checkpoint_folders(name))
    except AtoError:
        return 1
