"""Commands about single features, in the tables or in the running model: search, notes, steering, graphs, fates."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli.options import CollectionOption, JsonOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from flows.settings import Settings

app = typer.Typer()


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
    study = _study(collection, profile, set_)
    from ato.features.search import SearchSettings
    from flows.commands.find import read_texts, show_found
    from tasks.steering.find import Wanted

    how = SearchSettings(n_found=top, reduce=reduce, tokens=tokens, seed=seed)
    wanted = Wanted(concept, read_texts(with_), read_texts(without), how)
    show_found(*study, wanted, (sae or [], layer or []), format_)


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
    study = _study(collection, profile, set_)
    from flows.commands.activations import show_activations

    show_activations(*study, text, feature, (source, adapter), format_)


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
    study = _study(collection, profile, set_)
    from flows.commands.steer import amount_of, show_steered

    decoding = {"max_new_tokens": max_new_tokens, "n_samples": samples, "temperature": temperature, "seed": seed}
    run = {"prompts": tuple(prompt), "part": tokens, "decoding": decoding}
    default = amount_of(to, add, scale, ablate, unit)
    show_steered(*study, feature, default, run, format_)


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
    study = _study(collection, profile, set_)
    from flows.commands.graph import show_graph
    from tasks.settings.graphs import PromptSettings

    wanted = PromptSettings(text=prompt, targets=target or [], against=against)
    graph_set = show_graph(*study, wanted, sae or [], top, format_)
    if picture is not None:
        from tasks.report.graph_picture import save_picture

        save_picture(picture, graph_set)


@app.command(epilog="Example: ato fate L12/345")
def fate(
    features: Annotated[
        list[str] | None,
        typer.Argument(help="12/345, L12/345 or KEY/345; default: how often the views of all fates agree."),
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


def _study(collection: str | None, profile: str, overrides: list[str] | None) -> tuple["Settings", str]:
    """Settings and collection of a command that runs the model. It is asked before the command's imports, which take long."""
    from flows.engine.collections import chosen_collection

    key = chosen_collection(collection)
    from flows.settings import load_settings

    return load_settings(profile, overrides or []), key
