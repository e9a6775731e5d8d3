"""The ``ato`` command: verbs that run flows, query the results and check them, a module for each kind of them."""

from typing import Annotated

import typer

from flows.cli import features, lists, platform, results, run
from flows.cli.ending import end_with
from flows.engine.environment import prepare_environment

app = typer.Typer(
    name="ato",
    help="Which features of a language model's residual stream are transported linearly from layer to layer?",
    epilog="Start with: ato run pipeline --profile demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verbs in (run, results, features, platform):
    app.add_typer(verbs.app)
app.add_typer(lists.app, name="list")


@app.callback()
def ato(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show logs and full tracebacks.")] = False,
) -> None:
    """Options of all commands."""
    prepare_environment(debug=debug)
    if context.invoked_subcommand in ("run", "deploy", "doctor"):
        from flows.local.state import use_running_server

        use_running_server()


def main() -> None:
    """Entry point: an error is one line; a traceback only with ``--debug``."""
    end_with(lambda: app(standalone_mode=False))
