"""Commands that read what the flows wrote: SQL, tables, summaries, pages and files for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ato.errors import SettingsError
from flows.cli.options import CollectionOption
from flows.stages import STAGES

if TYPE_CHECKING:
    ShownStage = str
else:
    ShownStage = Literal["findings", *(name for name, stage in STAGES.items() if stage.query)]
FeaturesOption = Annotated[
    Literal["all", "selected"],
    typer.Option("--features", help="Features that maps average over: all scored ones, or the selected ones."),
]

app = typer.Typer()


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
