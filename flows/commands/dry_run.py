"""``ato run label --dry-run``: what judges would be asked, and what that would cost; nothing is asked."""

from rich.console import Console
from rich.table import Table

from ato.errors import SettingsError
from flows.estimates.label_costs import trials_of, what_is_asked
from flows.settings import Settings

LABEL = "label"


def dry_run(settings: Settings, flow: str) -> None:
    """Print calls, tokens and cost of every judge of the settings.

    Raises:
        SettingsError: another flow, which asks nobody.
    """
    if flow != LABEL:
        raise SettingsError(f"flow {flow} asks no judge", where="--dry-run", cure="use it with `ato run label`")
    s = settings.label
    judges = [(s.judge, s.chat), *([] if s.second_judge is None else [(s.second_judge, s.second_chat)])]
    table = Table(title="What judges are asked, at most", title_justify="left", header_style="bold")
    table.add_column("judge", no_wrap=True)
    for name in ("features", "calls", "prompt tokens", "tokens of replies", "cost"):
        table.add_column(name, justify="right")
    for kind, chat in judges:
        asked = what_is_asked(settings, chat)
        if kind == "chat":
            cost = "no prices" if asked.cost is None else f"{asked.cost:.2f}"
            counts = (asked.calls, asked.prompt_tokens, asked.completion_tokens)
            table.add_row(chat.model, f"{asked.features:,}", *(f"{n:,}" for n in counts), cost)
        else:
            table.add_row(kind, f"{asked.features:,}", "0", "0", "0", "0")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{trials_of(s):,} trials a feature at most. What was answered before is not asked again.")
    for kind, chat in judges:
        if kind == "chat":
            console.print(f"{chat.model}: {_budget(chat.max_calls, chat.max_tokens, chat.max_cost)}")


def _budget(calls: int | None, tokens: int | None, cost: float | None) -> str:
    limits = {"calls": calls, "tokens": tokens, "money": cost}
    given = [f"{limit:,} {name}" for name, limit in limits.items() if limit is not None]
    return f"stops before it exceeds {' or '.join(given)}" if given else "no budget is set (label.chat.max_calls ...)"
