"""Commands that serve, check and clean: of the platform itself, whatever was studied."""

from typing import Annotated

import typer

from flows.cli.options import ProfileOption, SetOption
from flows.engine.environment import make_data_folder

FormProfileOption = Annotated[
    str, typer.Option("--profile", "-p", help="Profile, or YAML file, whose settings the forms show at first.")
]

app = typer.Typer()


@app.command(epilog="Example: ato check")
def check() -> None:
    """Check every file against its hash and every table against its expectations; exit 1 on failure."""
    from flows.commands.check import check_warehouse

    raise typer.Exit(0 if check_warehouse() else 1)


@app.command(epilog="Example: ato up")
def up(
    profile: FormProfileOption = "demo",
    dashboard: Annotated[bool, typer.Option(help="Start the dashboard too.")] = True,
    prefect_port: Annotated[int | None, typer.Option(help="Default: 4200, or the next free port.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="Default: 5000, or the next free port.")] = None,
    dashboard_port: Annotated[int | None, typer.Option(help="Default: 8501, or the next free port.")] = None,
) -> None:
    """Run the Prefect server, workers, MLflow and the dashboard on this machine, until Ctrl-C."""
    make_data_folder()
    from flows.local.up import up as start

    start(
        profile=profile,
        with_dashboard=dashboard,
        prefect_port=prefect_port,
        mlflow_port=mlflow_port,
        dashboard_port=dashboard_port,
    )


@app.command(name="serve-judge", epilog="Example: ato serve-judge --set model.name=smollm2-135m")
def serve_judge(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0: a free one.")] = 8010,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Subtract from each choice its log-probability without a text.")
    ] = False,
    profile: ProfileOption = "demo",
    set_: SetOption = None,
) -> None:
    """Serve the model of the settings as a judge for `ato run label`, until Ctrl-C."""
    from flows.commands.serve_judge import serve_judge as serve
    from flows.settings import load_settings

    serve(load_settings(profile, set_ or []), host, port, calibrate=calibrate)


@app.command(epilog="Example: ato deploy --profile gpt2")
def deploy(
    profile: FormProfileOption = "demo",
) -> None:
    """Register flows, triggers, schedules and work pools on the running Prefect server, or update them."""
    make_data_folder()
    from flows.local.deployments import deploy as register

    register(profile)


@app.command(epilog="Example: ato gc --older-than 30d")
def gc(
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", help="Also remove this collection, with everything made from it."),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Also remove collections not used for this long: 12h, 30d, 2w.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without this option they are only listed.")] = False,
) -> None:
    """List leftovers of failed runs, and with --yes remove them."""
    from flows.commands.gc import collect_garbage

    collect_garbage(collection or (), older_than, yes=yes)


@app.command(epilog="Example: ato doctor")
def doctor(
    profile: ProfileOption = "demo",
    set_: SetOption = None,
) -> None:
    """Check what is installed, reachable and writable, and how to fix problems; exit 1 if something is broken."""
    from flows.commands.doctor import examine
    from flows.settings import load_settings

    raise typer.Exit(0 if examine(load_settings(profile, set_ or [])) else 1)
