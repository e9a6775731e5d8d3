"""``ato list``: shows lists, changes them, writes them to files and reads them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

NameArgument = Annotated[str, typer.Argument(help="Name of the list.")]
ItemsArgument = Annotated[
    list[str], typer.Argument(help="Features (12/658, L12/658 or KEY/658) and keys of operators.")
]
CollectionOption = Annotated[
    str | None, typer.Option("--collection", help="Collection whose SAEs and operators are named; default: latest.")
]
JsonOption = Annotated[Literal["table", "json"], typer.Option("--format", "-f", help="Format of the output.")]

app = typer.Typer(
    help="Named lists of features and operators: show, change, export and import them.",
    epilog='Example: ato list add war 12/658 12/90 --for "features about war"',
    invoke_without_command=True,
    add_completion=False,
)


@app.callback()
def show_all(context: typer.Context, format_: JsonOption = "table") -> None:
    """Named lists of features and operators; without a command, print all."""
    if context.invoked_subcommand is None:
        from flows.commands.lists import show_lists

        show_lists(format_)


@app.command(epilog="Example: ato list show war")
def show(name: NameArgument, format_: JsonOption = "table") -> None:
    """Print what is on a list."""
    from flows.commands.lists import show_list

    show_list(name, format_)


@app.command(epilog="Example: ato list add war 12/658 12/90")
def add(
    name: NameArgument,
    items: ItemsArgument,
    description: Annotated[str | None, typer.Option("--for", help="What a new list is for.")] = None,
    collection: CollectionOption = None,
) -> None:
    """Put features and operators on a list, which is made if it is new."""
    from flows.commands.lists import add_to_list
    from flows.engine.collections import chosen_collection

    add_to_list(name, items, chosen_collection(collection), description)


@app.command(epilog="Example: ato list remove war 12/90")
def remove(name: NameArgument, items: ItemsArgument, collection: CollectionOption = None) -> None:
    """Take features and operators off a list."""
    from flows.commands.lists import remove_from_list
    from flows.engine.collections import chosen_collection

    remove_from_list(name, items, chosen_collection(collection))


@app.command(epilog='Example: ato list rename war "war and peace"')
def rename(name: NameArgument, to: Annotated[str, typer.Argument(help="Its new name.")]) -> None:
    """Give a list another name."""
    from flows.commands.lists import rename_list

    rename_list(name, to)


@app.command(epilog="Example: ato list delete war")
def delete(name: NameArgument) -> None:
    """Remove a list; notes on what was on it stay."""
    from flows.commands.lists import delete_list

    delete_list(name)


@app.command(epilog="Example: ato list export lists.json")
def export(
    file: Annotated[Path, typer.Argument(help="File to write, .csv or .json.")],
    name: Annotated[list[str] | None, typer.Option("--list", help="Only this list; repeatable; default: all.")] = None,
) -> None:
    """Write lists, and all notes, to a file."""
    from flows.commands.lists import export_lists

    export_lists(file, name or [])


@app.command(name="import", epilog="Example: ato list import lists.json")
def import_(
    source: Annotated[
        str,
        typer.Argument(help="File of `ato list export`, a CSV file with the columns list and item, or a warehouse."),
    ],
    collection: CollectionOption = None,
) -> None:
    """Add the lists and notes of a file, or of another warehouse, to those that there are."""
    from flows.commands.lists import import_lists
    from warehouse.catalog.catalog import rows

    known = rows(None, "select collection from collections order by created_at desc limit 1")
    import_lists(source, collection or (known[0]["collection"] if known else None))
