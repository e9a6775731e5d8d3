"""Flow ``watch``: new checkpoints are compared as they come; a change is an event and a failed run."""

from typing import Any

from ato.errors import QualityError
from flows.engine.forms import DEMO
from flows.engine.inputs import run_stages
from flows.engine.stage_run import conclude, emit
from flows.judging.judge import judge
from flows.settings import Settings
from flows.stages import WATCH, stages_of
from flows.study_flow import study_flow
from tasks.engine.progress import say
from tasks.engine.stage import Stage
from warehouse.catalog.catalog import rows

CHANGED = "ato.watch.changed"
"""Event: a new comparison has found features whose transport changed."""
_SUMS = """select comparison, other_model, sum(n_changed)::bigint as n_changed, sum(n_features)::bigint as n_features
from comparisons where collection = ? group by all"""


@study_flow("watch")
def watch(settings: Settings = DEMO) -> list[str]:
    """Compare what was not compared yet; returns the keys of all comparisons of these settings.

    What was told of a comparison is noted as a stage of its own, without rows, after the event was sent: a run that ends
    between a comparison and its warning leaves the warning to the next one.

    Raises:
        QualityError: features changed in a model of which no watch has told yet; all results are kept.
    """
    judge(settings, WATCH.name, tell=True)
    keys: dict[str, Any] = {}
    run_stages(stages_of(WATCH.name, settings), settings, keys)
    notes = _notes(settings, keys)
    sums = {row["comparison"]: row for row in rows(None, _SUMS, [keys["collection"]])}
    untold = {key: sums[key] for key, note in notes.items() if not note.complete}
    for row in untold.values():
        say("watch", f"{row['other_model']}: {row['n_changed']} of {row['n_features']} features changed")
    conclude(WATCH.name, settings, keys["collection"])
    changed = [row for row in untold.values() if row["n_changed"]]
    if changed:
        emit(CHANGED, settings, keys["collection"])
    for key in untold:
        with notes[key]:
            pass
    if changed:
        told = ", ".join(f"{row['n_changed']} features in {row['other_model']}" for row in changed)
        raise QualityError(
            f"transport changed: {told}",
            where=keys["collection"],
            cure="see page compare of the dashboard, or `ato show compare`",
        )
    return list(keys["comparisons"])


def _notes(settings: Settings, keys: dict[str, Any]) -> dict[str, Stage]:
    """Comparison -> the stage that is complete once a watch has told of it."""
    study = settings.study(keys["collection"])
    return {key: study.stage("watch", f"watch-{key}", settings={}, inputs=[key]) for key in keys["comparisons"]}
