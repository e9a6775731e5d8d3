"""What a researcher reads after a run: the collection, its SAEs, the transport map, operators and efficiency."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ato.errors import InputError
from flows.asking import format_value, show_relation
from warehouse.catalog import connect, rows
from warehouse.query import run_select
from warehouse.store import Warehouse

WIDTH = 150
"""Columns of a summary that does not go to a terminal."""

EXAMPLES = (
    "select source_layer, leap, mean_r2, mean_skill from transport_map where method = 'ridge' order by mean_r2 desc limit 5",
    "select verdict, count(*) as features from feature_transport where method = 'ridge' group by verdict",
    "select target_layer, leap, rank, efficiency, efficiency_paper from efficiency_curves where rank in (8, 64) order by all",
)
"""Three queries to try; the README shows them too."""


def latest_collection() -> str:
    """Key of the collection that was completed last.

    Raises:
        InputError: there is none.
    """
    found = rows(None, "select collection from collections order by created_at desc limit 1")
    if not found:
        raise InputError("no collection yet", where=Warehouse().root, cure="start with `ato run pipeline --profile demo`")
    return found[0]["collection"]


def show_summary(collection: str) -> None:
    """Print the summary of one collection."""
    console = Console(highlight=False)
    (console if console.is_terminal else Console(width=WIDTH, highlight=False)).print(Group(*summary(collection)))


def draw_summary(collection: str, path: Path) -> None:
    """Write the summary of one collection as an SVG picture that needs no font or file from elsewhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False, force_terminal=True)
    console.print(Group(*summary(collection)))
    template = re.sub(r"@font-face\s*{{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    path.write_text(console.export_svg(title="ato show", code_format=template), encoding="utf-8")


def summary(collection: str) -> Iterator[Any]:
    """The parts of the summary, as rich renderables."""
    yield _collection(collection)
    yield _saes(collection)
    yield _transport_map(collection)
    yield _extremes(collection)
    yield _efficiency(collection)
    yield Text(f"\nTables: {Warehouse().root}   list them: ato tables   ask them:")
    for query in EXAMPLES:
        yield Text(f'  ato sql "{query}"', style="cyan", no_wrap=True, overflow="ignore")


def _collection(collection: str) -> Text:
    c = rows(None, "from collections where collection = ?", [collection])[0]
    dropped = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in c["dropped_by_reason"].items()) or "none"
    text = Text(f"\n{collection}\n", style="bold")
    text.append(
        f"{c['model']} ({c['n_layers']} layers, d = {c['d_model']}, {c['dtype']}) on {c['corpus']}: {c['n_tokens']:,} tokens in "
        f"{c['n_sequences']:,} sequences of {c['n_documents']:,} documents;\n{c['n_kept']:,} kept at {len(c['layers'])} layers; "
        f"dropped: {dropped}\n",
        style="not bold",
    )
    return text


def _saes(collection: str) -> Table:
    table = Table(
        "layer", "architecture", "features", "L0", "FVU", "loss recovered", "dead", "trusted",
        title="Sparse autoencoders on held-out text", title_justify="left", title_style="bold",
    )  # fmt: skip
    for s in rows(None, "from saes where collection = ? order by layer, sae", [collection]):
        table.add_row(
            str(s["layer"]), s["architecture"], f"{s['d_sae']:,}", format_value(s["l0"]), _interval(s, "fvu"),
            _interval(s, "ce_recovered"), f"{s['dead_share']:.1%}",
            "yes" if s["trusted"] else f"[red]no[/]: {s['distrust_reason']}",
        )  # fmt: skip
    return table


def _transport_map(collection: str) -> Table:
    """Source by target: mean r2 over features where an SAE sits at the target, else the residual's own r2 in brackets."""
    cells = {
        (m["source_layer"], m["target_layer"]): m
        for m in rows(None, "from transport_map where collection = ? and is_latest and method = 'ridge'", [collection])
    }
    plain = {
        (o["source_layer"], o["target_layer"]): o["r2_test"]
        for o in rows(None, "from operators where collection = ? and method = 'ridge'", [collection])
    }
    targets = sorted({target for _, target in plain})
    table = Table(
        "source", *(f"→ {t}" for t in targets), title_justify="left", title_style="bold",
        title="Transport map: mean r2 of SAE features under ridge (in brackets: r2 of the residual, no SAE at that target)",
    )  # fmt: skip
    for source in sorted({source for source, _ in plain}):
        line = []
        for target in targets:
            cell = cells.get((source, target))
            if cell is not None and cell["mean_r2"] is not None:
                line.append(f"[bold {_colour(cell['mean_r2'])}]{cell['mean_r2']:.2f}[/]")
            else:
                line.append(f"[dim]({plain[source, target]:.2f})[/]" if (source, target) in plain else "")
        table.add_row(str(source), *line)
    return table


def _colour(r2: float) -> str:
    return "green" if r2 >= 0.7 else "yellow" if r2 >= 0.3 else "red"


def _extremes(collection: str) -> Table:
    table = Table(
        "", "pair", "method", "r2 on test", "identity's r2", "skill", "r2 of the update",
        title="Best and worst fitted operators, by skill against identity", title_justify="left", title_style="bold",
    )  # fmt: skip
    found = rows(
        None,
        """
        select o.*, i.r2_test as identity_r2
        from operators o join operators i
          on i.collection = o.collection and i.source_layer = o.source_layer and i.target_layer = o.target_layer
             and i.method = 'identity' and split_part(i.operator, 'identity-', 2) = split_part(o.operator, o.method || '-', 2)
        where o.collection = ? and o.method not in ('identity', 'mean') and o.skill is not null
        order by o.skill desc
        """,
        [collection],
    )
    n = min(3, len(found) // 2)
    for name, some in (("best", found[:n]), ("worst", found[len(found) - n :])):
        for o in some:
            table.add_row(
                name, f"{o['source_layer']} → {o['target_layer']}", o["method"], _interval(o, "r2_test"),
                format_value(o["identity_r2"]), _interval(o, "skill"), _interval(o, "r2_update"),
            )  # fmt: skip
    return table


def _efficiency(collection: str) -> Table:
    """Mean over sources, a row a leap, at a small rank and at full rank."""
    table = Table(
        "leap", "pairs", "ceiling [held-out, in-sample]", "efficiency, rank 64", "efficiency, full rank",
        "as published, rank 64", "as published, full rank", "LTS dim (participation)",
        title="Transport efficiency by leap (mean over sources)", title_justify="left", title_style="bold",
    )  # fmt: skip
    for e in rows(None, "from efficiency_by_leap where collection = ? order by leap", [collection]):
        bracket = f"[{e['mean_ceiling_held_out']:.3f}, {e['mean_ceiling_in_sample']:.3f}]".replace("[", "\\[")
        names = ("efficiency_rank_64", "efficiency", "efficiency_paper_rank_64", "efficiency_paper", "lts_dim_participation")
        table.add_row(str(e["leap"]), str(e["n_pairs"]), bracket, *(format_value(e[f"mean_{name}"]) for name in names))
    return table


def _interval(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f}" + ("" if low is None else f" [dim]\\[{low:.3f}, {high:.3f}][/]")


STAGE_QUERIES = {
    "collect": "select * exclude (settings) from collections where collection = '{key}'",
    "saes": "select * exclude (collection, path, weights_hash) from saes where collection = '{key}' order by layer",
    "features": """select sae, count(*) as features, count(*) filter (n_active = 0) as dead,
        avg(activation_rate) as mean_rate, max(max_activation) as max_activation
        from feature_stats where collection = '{key}' group by sae order by sae""",
    "operators": """select source_layer, leap, target_layer, method, alpha, rank, r2_test, r2_weighted, r2_whitened,
        r2_update, skill, cosine from operators where collection = '{key}' order by all""",
    "evaluate": "select * exclude (collection) from transport_map where collection = '{key}' order by all",
}


def show_stage(stage: str, collection: str) -> None:
    """Print the main table of one stage for one collection."""
    if not rows(None, "from collections where collection = ?", [collection]):
        raise InputError(f"no collection {collection!r}", cure='ato sql "select collection from collections"')
    show_relation(run_select(connect(), STAGE_QUERIES[stage].format(key=collection)), title=f"{stage}: {collection}")
