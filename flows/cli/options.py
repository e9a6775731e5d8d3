"""Options that several commands share."""

from typing import Annotated, Literal

import typer

CollectionOption = Annotated[str | None, typer.Option("--collection", help="Key of a collection; default: latest.")]
ProfileOption = Annotated[str, typer.Option("--profile", "-p", help="Name of a profile, or a YAML file.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-s", help="Override one setting: a.b=value.")]
JsonOption = Annotated[Literal["table", "json"], typer.Option("--format", "-f", help="Format of the output.")]
