"""``ato settings``: every setting with its type, default and meaning, or those of one group."""

from rich.console import Console
from rich.table import Table

from ato.errors import SettingsError
from flows.reference.settings_list import groups

WIDTH = 160
"""Width where the output is no terminal, in characters."""


def describe_settings(name: str | None = None) -> None:
    """Print the settings of one group with its parts, or of all.

    Raises:
        SettingsError: no such group.
    """
    every = list(groups())
    found = [group for group in every if name is None or group.name == name or group.name.startswith(f"{name}.")]
    if not found:
        raise SettingsError(
            f"no group of settings {name!r}", cure=f"choose from {', '.join(group.name for group in every)}"
        )
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    for group in found:
        table = Table("setting", "type", "default", "meaning", title=f"{group.name}: {group.meaning}")
        table.title_justify, table.title_style = "left", "bold"
        for setting in group.settings:
            table.add_row(setting.path, setting.type.replace("`", ""), setting.default, setting.meaning)
        console.print(table, markup=False)
    console.print("Words: docs/glossary.md, or the page Reference of `ato up`", markup=False)
