"""``ato run``: brings a flow's stages up to date, or says what that would take."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli.options import ProfileOption, SetOption
from flows.engine.environment import make_data_folder
from flows.stages import FLOWS, PIPELINE, stages_of

if TYPE_CHECKING:
    FlowName = str
else:
    FlowName = Literal[tuple(FLOWS)]

app = typer.Typer()


@app.command(epilog="Example: ato run pipeline --profile demo --set collect.n_tokens=50000")
def run(
    flow: Annotated[FlowName, typer.Argument(help="A flow; it brings its inputs up to date first.")],
    profile: ProfileOption = "demo",
    preset: Annotated[
        list[str] | None, typer.Option("--preset", help="Settings that replace those of the profile: paper.")
    ] = None,
    set_: SetOption = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only estimate time, memory and disk.")] = False,
    list_: Annotated[str | None, typer.Option("--list", help="Of label: only features on this list.")] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Of label: only say what judges would be asked, and the cost.")
    ] = False,
) -> None:
    """Run a flow; completed stages are skipped."""
    from tasks.engine.progress import phase, say

    with phase("start", "loading libraries"):
        from flows.estimates.estimate import print_estimate, show_estimate
        from flows.judging.judge import judge, judge_text
        from flows.settings import load_settings, with_list

    settings = load_settings(profile, set_ or [], preset or [])
    if list_ is not None:
        settings = with_list(settings, flow, list_)
    judge(settings, flow)
    if dry:
        from flows.commands.dry_run import dry_run

        dry_run(settings, flow)
        return
    if estimate:
        judge_text(settings, flow)
        print_estimate(settings, flow)
        return
    make_data_folder()
    from flows.commands.show import show_summary
    from flows.engine.running import complete_result, run_flow

    complete, collection = complete_result(flow, settings)
    if not complete:
        judge_text(settings, flow)
        if flow == PIPELINE.name:
            show_estimate(settings)
        collection = run_flow(flow, settings)
    if flow == PIPELINE.name:
        show_summary(collection, settings.report.features)
    elif (last := stages_of(flow, settings)[-1]).on_demand:
        say(flow, f"results: `ato show {last.name}`, or page {last.page} of the dashboard (`ato up`)")
