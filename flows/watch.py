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
from warehouse.catalog.catalog import rows

CHANGED = "ato.watch.changed"
"""Event: a new comparison has found features whose transport changed."""
_ALL = """select comparison, other_model, sum(n_changed)::bigint as n_changed, sum(n_features)::bigint as n_features
from comparisons group by all order by min(place), comparison"""


@study_flow("watch")
def watch(settings: Settings = DEMO) -> list[str]:
    """Compare what was not compared yet; returns the keys of all comparisons of these settings.

    Raises:
        QualityError: features changed in a model that was compared in this run; all results are kept.
    """
    judge(settings, WATCH.name, tell=True)
    known = {row["comparison"] for row in rows(None, _ALL)}
    keys: dict[str, Any] = {}
    run_stages(stages_of(WATCH.name, settings), settings, keys)
    compared = [row for row in rows(None, _ALL) if row["comparison"] in keys["comparisons"]]
    new = [row for row in compared if row["comparison"] not in known]
    for row in new:
        say("watch", f"{row['other_model']}: {row['n_changed']} of {row['n_features']} features changed")
    conclude(WATCH.name, settings, keys["collection"])
    if changed := [row for row in new if row["n_changed"]]:
        emit(CHANGED, settings, keys["collection"])
        told = ", ".join(f"{row['n_changed']} features in {row['other_model']}" for row in changed)
        raise QualityError(
            f"transport changed: {told}",
            where=keys["collection"],
            cure="see page compare of the dashboard, or `ato show compare`",
        )
    return list(keys["comparisons"])
