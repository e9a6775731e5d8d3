"""The ``ato`` command: verbs that run flows, query the results and check them."""

import atexit
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console

from ato.errors import AtoError, SettingsError
from flows.commands.list_app import app as list_app
from flows.engine.environment import make_data_folder, prepare_environment
from flows.stages import FLOWS, PIPELINE, STAGES, stages_of

app = typer.Typer(
    name="ato",
    help="Which features of a language model's residual stream are transported linearly from layer to layer?",
    epilog="Start with: ato run pipeline --profile demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(list_app, name="list")
problems = Console(stderr=True, highlight=False)

if TYPE_CHECKING:
    FlowName = str
    ShownStage = str
else:
    FlowName = Literal[tuple(FLOWS)]
    ShownStage = Literal["findings", *(name for name, stage in STAGES.items() if stage.query)]
CollectionOption = Annotated[str | None, typer.Option("--collection", help="Key of a collection; default: latest.")]
ProfileOption = Annotated[str, typer.Option("--profile", "-p", help="Name of a profile, or a YAML file.")]
FormProfileOption = Annotated[
    str, typer.Option("--profile", "-p", help="Profile, or YAML file, whose settings the forms show at first.")
]
FeaturesOption = Annotated[
    Literal["all", "selected"],
    typer.Option("--features", help="Features that maps average over: all scored ones, or the selected ones."),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-s", help="Override one setting: a.b=value.")]

JsonOption = Annotated[Literal["table", "json"], typer.Option("--format", "-f", help="Format of the output.")]


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


@app.command(epilog='Example: ato sql "from transport_map order by mean_r2 desc limit 5"')
def sql(
    query: Annotated[str | None, typer.Argument(help="One read-only statement; default: open a shell.")] = None,
    format_: Annotated[
        Literal["table", "csv", "json", "parquet", "latex"] | None,
        typer.Option("--format", "-f", help="Format of the result; default: by the file's ending, else a table."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all rows to this .csv, .json, .parquet or .tex file.")
    ] = None,
    caption: Annotated[str, typer.Option(help="Caption of a LaTeX table, and in the metadata of a file.")] = "",
) -> None:
    """Query the warehouse in SQL."""
    from flows.commands.sql import ask, shell

    shell(format_) if query is None else ask(query, format_, output=output, caption=caption)


@app.command(epilog="Example: ato tables feature_transport")
def tables(name: Annotated[str | None, typer.Argument(help="Print the columns of this table.")] = None) -> None:
    """List all tables with row counts and meanings, or the columns of one table."""
    from flows.commands.tables import describe_tables

    describe_tables(name)


@app.command(epilog="Example: ato settings operators")
def settings(
    group: Annotated[str | None, typer.Argument(help="Settings of this stage, such as collect; default: all.")] = None,
) -> None:
    """Print every setting with its type, default and meaning."""
    from flows.commands.settings import describe_settings

    describe_settings(group)


@app.command(epilog="Example: ato show operators")
def show(
    stage: Annotated[
        ShownStage | None,
        typer.Argument(help="A stage, or findings: what the study found; default: a summary of all."),
    ] = None,
    collection: CollectionOption = None,
    features: FeaturesOption = "all",
    svg: Annotated[Path | None, typer.Option(help="Write the summary to this SVG file instead.")] = None,
) -> None:
    """Show results as tables."""
    from flows.commands.show import draw_summary, show_findings, show_stage, show_summary
    from flows.engine.collections import chosen_collection

    key = chosen_collection(collection, STAGES[stage].commits if stage in STAGES else ())
    if svg is not None:
        draw_summary(key, svg, features)
    elif stage is None:
        show_summary(key, features)
    elif stage == "findings":
        show_findings(key)
    else:
        show_stage(stage, key)


@app.command(epilog="Example: ato report --output report.html")
def report(
    collection: CollectionOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the page to this file.")] = None,
    features: FeaturesOption = "all",
    format_: Annotated[
        Literal["html", "md"],
        typer.Option("--format", "-f", help="A page that needs nothing else, or Markdown with its figures in files."),
    ] = "html",
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Write every figure as SVG, PDF and PNG and every table as CSV, Parquet and LaTeX to this folder."
        ),
    ] = None,
) -> None:
    """Draw the study's figures from the tables: one self-contained HTML file, Markdown, or files for a paper."""
    from flows.engine.collections import chosen_collection

    key = chosen_collection(collection)
    from flows.commands.report import make_report

    print(make_report(key, output, features, format_, figures))


@app.command(epilog="Example: ato publish site && python -m http.server --directory site")
def publish(
    folder: Annotated[Path, typer.Argument(help="New or empty, or an earlier site, which is replaced.")],
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", help="Key of a collection, shown first; repeat for several; default: all."),
    ] = None,
    without_text: Annotated[bool, typer.Option("--without-text", help="Leave out the text of the corpus.")] = False,
) -> None:
    """Write the study as a static site: pages, their data as Parquet, and SQL in the browser; it needs no server of ours."""
    from flows.commands.publish import publish_site

    publish_site(folder, collection or [], with_text=not without_text)


@app.command(epilog="Example: ato export features --format circuit-tracer --sae sae-layer12-0123abcd --to packed")
def export(
    what: Annotated[
        Literal["features", "feature-scores", "entity-residuals", "jacobians"],
        typer.Argument(
            help="features: their examples and descriptions for other tools; feature-scores: JSON files in the study's "
            "format; entity-residuals: arrays to be memory-mapped; jacobians: files of the Jacobian lens, one per target layer."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "--to", "-o", help="Folder to write to.")] = Path("export"),
    layer: Annotated[
        int | None, typer.Option(help="Only this layer, the SAEs of it, or the Jacobians that end there.")
    ] = None,
    collection: CollectionOption = None,
    format_: Annotated[
        Literal["expanded", "circuit-tracer", "neuronpedia"] | None,
        typer.Option(
            "--format",
            "-f",
            help="Of features: expanded (a JSON file per feature), circuit-tracer (packed, for its --features_dir) or "
            "neuronpedia (SAEDashboard's batches); default: expanded.",
        ),
    ] = None,
    sae: Annotated[list[str] | None, typer.Option("--sae", help="Of features: key of an SAE; repeatable.")] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Of features: shown (with examples or a description), selected, all, or numbers such as 3,17,100-120; "
            "default: shown."
        ),
    ] = None,
) -> None:
    """Write results in the format of another tool."""
    from flows.commands.export import export_entity_residuals, export_feature_scores
    from flows.commands.export_features import export_features
    from flows.commands.export_jacobians import export_jacobians
    from flows.engine.collections import chosen_collection

    if what != "features" and (format_, sae, features) != (None, None, None):
        raise SettingsError(f"{what} have neither --format nor --sae nor --features", cure="leave these options out")
    key = chosen_collection(collection)
    if what == "features":
        which = features or "shown"
        paths = export_features(key, output, format_ or "expanded", saes=sae or (), layer=layer, features=which)
    else:
        write = {
            "feature-scores": export_feature_scores,
            "entity-residuals": export_entity_residuals,
            "jacobians": export_jacobians,
        }[what]
        paths = write(key, output, layer)
    for path in paths:
        print(path)


@app.command(epilog='Example: ato find "Golden Gate Bridge" --layer 12 --top 5')
def find(
    concept: Annotated[str, typer.Argument(help="A phrase; with --with and --without what your texts are about.")],
    with_: Annotated[
        Path | None, typer.Option("--with", help="Your texts with the concept: a line each, or .jsonl.")
    ] = None,
    without: Annotated[Path | None, typer.Option("--without", help="Your texts without it.")] = None,
    sae: Annotated[
        list[str] | None, typer.Option("--sae", help="Key or folder of an SAE; repeatable; default: all.")
    ] = None,
    layer: Annotated[list[int] | None, typer.Option("--layer", help="SAEs of this layer; repeatable.")] = None,
    top: Annotated[int, typer.Option("--top", help="Features to find.")] = 10,
    tokens: Annotated[
        Literal["all", "elsewhere"], typer.Option(help="Tokens that count: elsewhere leaves out the phrase itself.")
    ] = "all",
    reduce: Annotated[Literal["max", "mean"], typer.Option(help="Over the tokens of a text.")] = "max",
    seed: Annotated[int, typer.Option(help="Of the halves that choose and measure.")] = 0,
    collection: CollectionOption = None,
    profile: ProfileOption = "demo",
    set_: SetOption = None,
    format_: JsonOption = "table",
) -> None:
    """Find the features of a concept: chosen on half of the texts, measured on the other half, beside a null."""
    from flows.engine.collections import chosen_collection

    key = chosen_collection(collection)
    from ato.features.search import SearchSettings
    from flows.commands.find import read_texts, show_found
    from flows.settings import load_settings
    from tasks.steering.find import Wanted

    how = SearchSettings(n_found=top, reduce=reduce, tokens=tokens, seed=seed)
    wanted = Wanted(concept, read_texts(with_), read_texts(without), how)
    show_found(load_settings(profile, set_ or []), key, wanted, (sae or [], layer or []), format_)


@app.command(epilog='Example: ato search "dates and months"')
def search(
    text: Annotated[
        str, typer.Argument(help="Words or a token, a feature (658 or 12/658), or what the features should be about.")
    ],
    meaning: Annotated[
        bool | None,
        typer.Option("--meaning/--words", help="Default: by meaning where `ato run embed` has embedded the texts."),
    ] = None,
    sae: Annotated[list[str] | None, typer.Option("--sae", help="Key of an SAE; repeatable; default: all.")] = None,
    layer: Annotated[int | None, typer.Option("--layer", help="Only features of this layer.")] = None,
    list_: Annotated[str | None, typer.Option("--list", help="Only features on this list.")] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Features to show.")] = 10,
    collection: CollectionOption = None,
    format_: JsonOption = "table",
) -> None:
    """Search features by their descriptions, examples and promoted tokens: by words, or by meaning beside a null."""
    from flows.commands.search import show_matches
    from flows.engine.collections import chosen_collection

    show_matches(text, chosen_collection(collection), (sae or [], layer, list_, top), meaning, format_)


@app.command(epilog='Example: ato note 12/658 "fires on battles, not on wars"')
def note(
    item: Annotated[str, typer.Argument(help="Feature (12/658, L12/658 or KEY/658) or key of an operator.")],
    text: Annotated[str | None, typer.Argument(help="What to note; default: print the notes that there are.")] = None,
    remove: Annotated[str | None, typer.Option("--remove", help="Key of a note to remove.")] = None,
    collection: CollectionOption = None,
    format_: JsonOption = "table",
) -> None:
    """Note something on a feature or an operator, or print its notes."""
    from flows.commands.lists import write_note
    from flows.engine.collections import chosen_collection

    write_note(item, text, chosen_collection(collection), remove, format_)


@app.command(epilog='Example: ato activations "The Union army marched." --feature L12/345')
def activations(
    text: Annotated[str, typer.Argument(help="The text.")],
    feature: Annotated[str, typer.Option("--feature", help="L12/345, KEY/345 or FOLDER/345.")],
    source: Annotated[
        int | None,
        typer.Option("--source", help="Layer to predict the activation from; default: the nearest with an operator."),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option("--adapter", help="Checkpoint of a transcoder adapter, whose feature L12/345 is.")
    ] = None,
    collection: CollectionOption = None,
    profile: ProfileOption = "demo",
    set_: SetOption = None,
    format_: JsonOption = "table",
) -> None:
    """Run the model on a text of your own: a feature's activation at every token, its transport, and the losses."""
    from flows.engine.collections import chosen_collection

    key = chosen_collection(collection)
    from flows.commands.activations import show_activations
    from flows.settings import load_settings

    show_activations(load_settings(profile, set_ or []), key, text, feature, (source, adapter), format_)


@app.command(epilog='Example: ato steer --feature L12/345 --to 8 --prompt "The bridge"')
def steer(
    feature: Annotated[
        list[str], typer.Option("--feature", help="L12/345, KEY/345 or FOLDER/345; repeatable, each may end in :add:3.")
    ],
    prompt: Annotated[list[str], typer.Option("--prompt", help="Prompt to continue; repeatable.")],
    to: Annotated[float | None, typer.Option("--to", help="Clamp activations to this.")] = None,
    add: Annotated[float | None, typer.Option("--add", help="Add this to activations.")] = None,
    scale: Annotated[float | None, typer.Option("--scale", help="Multiply activations by this.")] = None,
    ablate: Annotated[bool, typer.Option("--ablate", help="Set activations to 0.")] = False,
    unit: Annotated[
        Literal["activation", "norm", "maximum"],
        typer.Option(
            help="Of --to and --add: activations, norms of the residual, or the feature's largest activation."
        ),
    ] = "activation",
    tokens: Annotated[Literal["all", "prompt", "generated"], typer.Option(help="Tokens that are edited.")] = "all",
    max_new_tokens: Annotated[int, typer.Option(help="Limit of generated tokens.")] = 40,
    samples: Annotated[int, typer.Option(help="Texts drawn beside the greedy one.")] = 0,
    temperature: Annotated[float, typer.Option(help="Of drawn texts.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of drawn texts.")] = 0,
    collection: CollectionOption = None,
    profile: ProfileOption = "demo",
    set_: SetOption = None,
    format_: JsonOption = "table",
) -> None:
    """Generate text with edited features beside the unedited text, with what the edit costs."""
    from flows.engine.collections import chosen_collection

    key = chosen_collection(collection)
    from flows.commands.steer import amount_of, show_steered
    from flows.settings import load_settings

    decoding = {"max_new_tokens": max_new_tokens, "n_samples": samples, "temperature": temperature, "seed": seed}
    run = {"prompts": tuple(prompt), "part": tokens, "decoding": decoding}
    default = amount_of(to, add, scale, ablate, unit)
    show_steered(load_settings(profile, set_ or []), key, feature, default, run, format_)


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


@app.command(epilog='Example: ato graph "The capital of France is" --target " Paris"')
def graph(
    prompt: Annotated[str, typer.Argument(help="The prompt, without its next token.")],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="Token whose logit is explained; repeatable; default: the likely ones."),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Explain the logit of --target minus that of this token.")
    ] = None,
    sae: Annotated[list[str] | None, typer.Option("--sae", help="Key of an SAE; repeatable; default: all.")] = None,
    top: Annotated[int, typer.Option("--top", help="Nodes, and edges, that are shown of each graph.")] = 12,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="PNG file to draw: attribution and transport side by side.")
    ] = None,
    collection: CollectionOption = None,
    profile: ProfileOption = "demo",
    set_: SetOption = None,
    format_: JsonOption = "table",
) -> None:
    """Which features of a prompt make its next token: graphs by gradients and by operators, checked, with their files."""
    from flows.engine.collections import chosen_collection

    key = chosen_collection(collection)
    from flows.commands.graph import show_graph
    from flows.settings import load_settings
    from tasks.settings.graphs import PromptSettings

    wanted = PromptSettings(text=prompt, targets=target or [], against=against)
    graph_set = show_graph(load_settings(profile, set_ or []), key, wanted, sae or [], top, format_)
    if picture is not None:
        from tasks.report.graph_picture import save_picture

        save_picture(picture, graph_set)


@app.command(epilog="Example: ato fate L12/345")
def fate(
    features: Annotated[
        list[str] | None, typer.Argument(help="L12/345 or KEY/345; default: how often the views of all fates agree.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the lives of these features into this PNG file.")] = None,
    collection: CollectionOption = None,
    format_: JsonOption = "table",
) -> None:
    """Show what becomes of features through the layers, by every view."""
    from flows.commands.fate import show_fate
    from flows.engine.collections import chosen_collection

    show_fate(chosen_collection(collection), features or [], format_, picture)


@app.command(
    epilog="Examples: ato compare feature:L12/345 L12/346; ato compare graph:capital/attribution river/attribution"
)
def compare(
    left: Annotated[
        str,
        typer.Argument(
            help="KIND:ID or KIND:ID@COLLECTION: feature:L12/345 or feature:SAE/345, operator:KEY, sae:KEY, collection:KEY, "
            'entity:"Paris (city)", graph:PROMPT/attribution.'
        ),
    ],
    right: Annotated[str, typer.Argument(help="The other one; its KIND: may be left out.")],
    collection: CollectionOption = None,
    format_: JsonOption = "table",
) -> None:
    """Compare any two features, operators, SAEs, collections, entities or graphs (`ato run compare`: other models)."""
    from flows.commands.compare import show_comparison
    from flows.engine.collections import chosen_collection

    show_comparison(chosen_collection(collection), left, right, format_)


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


class _Ended(BaseException):
    """SIGTERM came."""


def _end(signum: int, frame: object) -> NoReturn:
    raise _Ended


def main() -> None:
    """Entry point: an error is one line; a traceback only with ``--debug``."""
    if "--debug" in sys.argv:  # at any position
        sys.argv = [sys.argv[0], "--debug", *(a for a in sys.argv[1:] if a != "--debug")]
    signal.signal(signal.SIGTERM, _end)  # by default nothing would end the Prefect server that a run started
    try:
        code = app(standalone_mode=False)
    except SettingsError as error:
        told = "" if "`ato settings" in str(error) else "; all settings: `ato settings`"
        _fail(error, f"{error}{told}; docs/settings.md")
    except AtoError as error:
        _fail(error, str(error))
    except KeyboardInterrupt:
        _fail(None, "interrupted: run the same command again to resume", code=130)
    except _Ended:
        _fail(None, "ended by SIGTERM: run the same command again to resume", code=143)
    except Exception as error:
        message = getattr(error, "format_message", lambda: "")()
        if message:  # a usage error of the command line
            _fail(None, f"{message} See: ato --help", code=2)
        _fail(error, f"{type(error).__name__}: {' '.join(str(error).split())} (run with --debug for the traceback)")
    _leave(code or 0)


def _fail(error: BaseException | None, message: str, *, code: int = 1) -> None:
    if "--debug" in sys.argv and error is not None:
        raise error
    from ato.text.display import visible

    problems.print("[bold red]error[/]", end=" ")
    keep = "\n" if isinstance(error, SettingsError) else ""  # faults of settings are a line each
    problems.print(visible(message, keep), markup=False, soft_wrap=True)
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
