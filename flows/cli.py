"""The ``ato`` command: one verb each for running flows, asking questions and checking what is there."""

import atexit
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from ato.errors import AtoError
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
problems = Console(stderr=True, highlight=False)

FlowName = Literal["pipeline", "collect", "saes", "features", "explain", "operators", "evaluate", "causal", "report"]
CollectionOption = Annotated[str | None, typer.Option("--collection", help="Key of a collection; default the latest.")]


@app.callback()
def ato(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show logs and full tracebacks.")] = False,
) -> None:
    """Common to all commands."""
    prepare_environment(debug=debug)
    if context.invoked_subcommand in ("run", "deploy", "doctor"):
        from flows.local.state import use_running_server

        use_running_server()


@app.command(epilog="Example: ato run pipeline --profile demo --set collect.n_tokens=50000")
def run(
    flow: Annotated[FlowName, typer.Argument(help="Which flow; each brings its inputs up to date first.")],
    profile: Annotated[str, typer.Option("--profile", "-p", help="Name of a profile, or a YAML file.")] = "demo",
    preset: Annotated[list[str] | None, typer.Option("--preset", help="Settings laid over the profile: paper.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", "-s", help="Override one setting: a.b=value.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what time, memory and disk it takes.")] = False,
) -> None:
    """Run a flow; what is already there is not computed again."""
    from flows.estimates.estimate import print_estimate, show_estimate
    from flows.settings import load_settings

    settings = load_settings(profile, set_ or [], preset or [])
    if estimate:
        print_estimate(settings, flow)
        return
    from flows.commands.show import show_summary
    from flows.engine.running import run_flow

    if flow == "pipeline":
        show_estimate(settings)
    collection = run_flow(flow, settings)
    if flow == "pipeline":
        show_summary(collection)


@app.command(epilog='Example: ato sql "from transport_map order by mean_r2 desc limit 5"')
def sql(
    query: Annotated[str | None, typer.Argument(help="One read-only statement; without it a shell opens.")] = None,
    format_: Annotated[
        Literal["table", "csv", "json", "parquet"], typer.Option("--format", "-f", help="How the result is written.")
    ] = "table",
) -> None:
    """Ask the warehouse a question in SQL."""
    from flows.commands.sql import ask, shell

    shell(format_) if query is None else ask(query, format_)


@app.command(epilog="Example: ato tables feature_transport")
def tables(name: Annotated[str | None, typer.Argument(help="A table: prints its columns.")] = None) -> None:
    """List all tables with row counts and meanings, or the columns of one."""
    from flows.commands.tables import describe_tables

    describe_tables(name)


@app.command(epilog="Example: ato show operators")
def show(
    stage: Annotated[
        Literal["collect", "saes", "features", "explain", "operators", "evaluate", "causal"] | None,
        typer.Argument(help="A stage; without it a summary of the latest collection."),
    ] = None,
    collection: CollectionOption = None,
    svg: Annotated[Path | None, typer.Option(help="Write the summary as a picture to this file instead.")] = None,
) -> None:
    """Show the latest results as tables."""
    from flows.commands.show import draw_summary, show_stage, show_summary
    from warehouse.catalog.lookups import latest_collection

    key = collection or latest_collection()
    if svg is not None:
        draw_summary(key, svg)
    elif stage is None:
        show_summary(key)
    else:
        show_stage(stage, key)


@app.command(epilog="Example: ato report --output report.html")
def report(
    collection: CollectionOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the page to this file.")] = None,
) -> None:
    """Draw the study's figures from the latest tables: one HTML file that needs nothing else, and a PNG a figure."""
    from flows.report import make_report
    from warehouse.catalog.lookups import latest_collection

    print(make_report(collection or latest_collection(), output))


@app.command(epilog="Example: ato export feature-scores --output feature_ids")
def export(
    what: Annotated[Literal["feature-scores"], typer.Argument(help="feature-scores: JSON files in the study's form.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path("export"),
    layer: Annotated[int | None, typer.Option(help="Only the SAEs of this layer.")] = None,
    collection: CollectionOption = None,
) -> None:
    """Write results in the form of another tool."""
    from flows.commands.export import export_feature_scores
    from warehouse.catalog.lookups import latest_collection

    for path in export_feature_scores(collection or latest_collection(), output, layer):
        print(path)


@app.command(epilog="Example: ato check")
def check() -> None:
    """Check every file and every quality expectation; exit 1 on failure."""
    from flows.commands.check import check_warehouse

    raise typer.Exit(0 if check_warehouse() else 1)


@app.command(epilog="Example: ato up")
def up(
    profile: Annotated[str, typer.Option("--profile", "-p", help="Whose settings the forms show at first.")] = "demo",
    dashboard: Annotated[bool, typer.Option(help="Start the dashboard too, if there is one.")] = True,
    prefect_port: Annotated[int | None, typer.Option(help="Default 4200, or the next free one.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="Default 5000, or the next free one.")] = None,
    dashboard_port: Annotated[int | None, typer.Option(help="Default 8501, or the next free one.")] = None,
) -> None:
    """Run Prefect's server with its pages, workers, MLflow's pages and the dashboard here, until Ctrl-C."""
    from flows.local.up import up as start

    start(
        profile=profile,
        with_dashboard=dashboard,
        prefect_port=prefect_port,
        mlflow_port=mlflow_port,
        dashboard_port=dashboard_port,
    )


@app.command(epilog="Example: ato deploy --profile gpt2")
def deploy(
    profile: Annotated[str, typer.Option("--profile", "-p", help="Whose settings the forms show at first.")] = "demo",
) -> None:
    """Register flows, triggers, schedules and work pools on the running Prefect server; again: what has changed."""
    from flows.local.deployments import deploy as register

    register(profile)


@app.command(epilog="Example: ato gc --older-than 30d")
def gc(
    collection: Annotated[
        list[str] | None, typer.Option("--collection", help="Also this collection, with all that depends on it.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Also collections that nothing was done on for so long: 12h, 30d, 2w.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this nothing is removed.")] = False,
) -> None:
    """Say what killed and failed runs left behind, and with --yes remove it."""
    from flows.commands.gc import collect_garbage

    collect_garbage(collection or (), older_than, yes=yes)


@app.command(epilog="Example: ato doctor")
def doctor(
    profile: Annotated[str, typer.Option("--profile", "-p", help="Whose Dask scheduler to look for.")] = "demo",
    set_: Annotated[list[str] | None, typer.Option("--set", "-s", help="Override one setting: a.b=value.")] = None,
) -> None:
    """Report what is installed, reachable and writable, and what to do about problems; exit 1 if something is broken."""
    from flows.commands.doctor import examine
    from flows.settings import load_settings

    raise typer.Exit(0 if examine(load_settings(profile, set_ or [])) else 1)


def main() -> None:
    """Entry point: user mistakes are one line; a traceback only with ``--debug``."""
    if "--debug" in sys.argv:  # wherever it stands
        sys.argv = [sys.argv[0], "--debug", *(a for a in sys.argv[1:] if a != "--debug")]
    try:
        code = app(standalone_mode=False)
    except AtoError as error:
        _fail(error, str(error))
    except KeyboardInterrupt:
        _fail(None, "interrupted: run the same command again to resume", code=130)
    except Exception as error:
        message = getattr(error, "format_message", lambda: "")()
        if message:  # a usage error of the command line
            _fail(None, f"{message} See: ato --help", code=2)
        _fail(error, f"{type(error).__name__}: {' '.join(str(error).split())} (run with --debug for the traceback)")
    _leave(code or 0)


def _fail(error: BaseException | None, message: str, *, code: int = 1) -> None:
    if "--debug" in sys.argv and error is not None:
        raise error
    problems.print("[bold red]error[/]", end=" ")
    problems.print(message, markup=False, soft_wrap=True)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process after its exit functions, without tearing the interpreter down.

    Prefect's daemon threads outlive the teardown and keep modules alive, of which native libraries then complain.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
