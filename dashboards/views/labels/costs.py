"""Panel of the page ``labels``: what was asked of language models, how it went, and what it cost."""

from typing import Any

from dashboards.ui.declared import Column, Panel
from dashboards.ui.declared_panel import draw_panel

JUDGE_COSTS = Panel(
    "Cost of the judge",
    """select * exclude (collection)
from judge_costs
where collection = $collection
order by judge, purpose, status""",
    note="Calls of all labellings of the collection; cached answers are not counted. Requests: repeated ones included. Cost: by "
    "the prices of the settings. Modes: how the server was asked for the schema. Judges that call no model have no row.",
    empty="No language model was called: the judges `overlap` and `embedding` need none. Choose one with `label.judge=chat`, then "
    "`ato run label --dry-run` says what it would cost.",
    columns=(
        Column("judge", "judge"),
        Column("purpose", "purpose"),
        Column("status", "status"),
        Column("n_calls", "calls", "integer"),
        Column("n_requests", "requests", "integer"),
        Column("prompt_tokens", "prompt tokens", "integer"),
        Column("completion_tokens", "completion tokens", "integer"),
        Column("cost", "cost"),
        Column("mean_seconds", "mean seconds"),
        Column("modes", "modes"),
        Column("usual_reason", "usual reason"),
    ),
)


def costs(about: dict[str, Any]) -> None:
    """Calls, tokens and money by judge, purpose and outcome; a call that several labellings share counts once."""
    draw_panel(JUDGE_COSTS, **about)
