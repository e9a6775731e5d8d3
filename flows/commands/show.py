"""``ato show``: the summary of a collection (SAEs, transport map, operators, efficiency), or one stage's main table."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ato.operators.methods import BASELINES
from flows.commands.sql import format_value, show_relation
from flows.stages import STAGES
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.sql_errors import running
from warehouse.storage.warehouse import Warehouse

WIDTH = 150
"""Width of a summary that is not printed on a terminal, in characters."""

EXAMPLES = (
    "select source_layer, target_layer, mean_r2, share_transported, share_synthesised from transport_map "
    "where method = 'ridge' order by mean_r2 desc limit 5",
    "select target_layer, leap, verdict, count(*) as features from feature_transport where method = 'ridge' group by all order by all",
    "select rank, avg(efficiency) as efficiency, avg(efficiency_paper) as as_published from efficiency_curves "
    "where leap = 2 group by rank order by rank",
)
"""Three queries to try; README has them too."""


def show_summary(collection: str) -> None:
    """Print the summary of a collection."""
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    console.print(Group(*summary(collection)), crop=False)  # queries are longer than a line


def draw_summary(collection: str, path: Path) -> None:
    """Write the summary of a collection as an SVG picture that needs no external font or file."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False, force_terminal=True)
    console.print(Group(*summary(collection)))
    template = re.sub(r"@font-face\s*{{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    path.write_text(console.export_svg(code_format=template), encoding="utf-8")


def summary(collection: str) -> Iterator[Any]:
    """Parts of the summary, as rich renderables."""
    yield _collection(collection)
    yield from _titled("Sparse autoencoders on held-out text", _saes(collection))
    features = _features(collection)
    if features.row_count:
        yield from _titled("Selected features: the best three of each SAE, by the tokens they promote", features)
    yield from _titled(
        "Transport map: mean r2 of SAE features under ridge (in brackets: r2 of the residual, where the target has no SAE)",
        _transport_map(collection),
    )
    yield from _titled(
        "Best fitted operator of each pair against the identity: three best and three worst pairs",
        _extremes(collection),
    )
    yield from _titled("Transport efficiency by leap (mean over sources)", _efficiency(collection))
    causal = _causal(collection)
    if causal.row_count:
        yield from _titled(
            "Causal check: rise of the next-token loss (nats) when five residuals per sequence are replaced", causal
        )
    yield Text(f"\nTables: {_place(Warehouse())}   list them: ato tables   query them:")
    for query in EXAMPLES:
        yield Text(f'  ato sql "{query}"', style="cyan", no_wrap=True, overflow="ignore")


def _place(warehouse: Warehouse) -> str:
    """Address of the warehouse, relative if it lies below the working folder."""
    here = Path.cwd()
    local = warehouse.storage.is_local and Path(warehouse.root).is_relative_to(here)
    return str(Path(warehouse.root).relative_to(here)) if local else warehouse.root


def _titled(title: str, table: Table) -> Iterator[Any]:
    """The title on a line of its own: a table would fold it to the table's width."""
    yield Text(f"\n{title}", style="bold")
    yield table


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
    table = Table("layer", "architecture", "features", "L0", "FVU", "loss recovered", "dead", "trusted")
    for s in rows(None, "from saes where collection = ? order by layer, sae", [collection]):
        table.add_row(
            str(s["layer"]),
            s["architecture"],
            f"{s['d_sae']:,}",
            format_value(s["l0"]),
            _interval(s, "fvu"),
            _interval(s, "ce_recovered"),
            f"{s['dead_share']:.1%}",
            "yes" if s["trusted"] else f"[red]no[/]: {s['distrust_reason']}",
        )
    return table


def _features(collection: str) -> Table:
    table = Table("layer", "features", "selected", "best three")
    found = rows(
        None,
        """
        select layer, sae, count(*) as n, count(*) filter (selected) as n_selected,
            list(feature_id || ' ' || array_to_string(list_transform(top_tokens[:4], lambda t: '«' || t || '»'), ' ')
                order by rank) filter (rank <= 3) as best
        from latest_feature_scores
        where collection = ?
        group by all order by layer, sae
        """,
        [collection],
    )
    for f in found:
        best = "".join(c if c.isprintable() else "·" for c in "   ".join(f["best"] or []))
        table.add_row(str(f["layer"]), f"{f['n']:,}", str(f["n_selected"]), Text(best))
    return table


INTERVENTIONS = ("transport", "identity", "random_rotation", "mean", "bias", "zero")


def _causal(collection: str) -> Table:
    """A row a pair: the average over the study's three position sets, else the first set."""
    found = rows(
        None,
        "from causal_summary where collection = ? and feature_id is null and position_set <> 'all' "
        "order by position_set = 'study' desc, position_set",
        [collection],
    )
    found = [row for row in found if row["position_set"] == found[0]["position_set"]]
    table = Table("pair", "n", "unedited", *(i.replace("_", " ") for i in INTERVENTIONS))
    for target, source, method in sorted({(r["target_layer"], r["source_layer"], r["method"]) for r in found}):
        line = {
            r["intervention"]: r
            for r in found
            if (r["target_layer"], r["source_layer"], r["method"]) == (target, source, method)
        }
        first = next(iter(line.values()))
        effects = [_interval(line[i], "delta_log_ppl", digits=2) if i in line else "–" for i in INTERVENTIONS]
        table.add_row(f"{source} → {target}", str(first["n_sequences"]), f"{first['log_ppl_none']:.2f}", *effects)
    return table


def _policy(collection: str) -> str | None:
    """Position policy of the operators fitted last."""
    found = rows(
        None,
        "select position_policy from operators as o join stage_runs as r on ends_with(o.operator, r.key) "
        "where o.collection = ? order by r.started_at desc limit 1",
        [collection],
    )
    return found[0]["position_policy"] if found else None


def _transport_map(collection: str) -> Table:
    """Source by target: mean r2 over features if the target has an SAE, else the r2 of the residual in brackets."""
    policy = _policy(collection)
    cells = {
        (m["source_layer"], m["target_layer"]): m
        for m in rows(
            None,
            "from transport_map where collection = ? and is_latest and method = 'ridge' and position_policy = ?",
            [collection, policy],
        )
    }
    plain = {
        (o["source_layer"], o["target_layer"]): o["r2_test"]
        for o in rows(
            None,
            "from operators where collection = ? and method = 'ridge' and position_policy = ?",
            [collection, policy],
        )
    }
    targets = sorted({target for _, target in plain})
    table = Table("source", *(f"→ {t}" for t in targets))
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
    table = Table("", "pair", "method", "r2 on test", "identity's r2", "skill", "r2 of the update")
    found = rows(
        None,
        """
        select * from operator_leaderboard
        where collection = ? and position_policy = ? and skill is not null
            and not list_contains(?, method)
        qualify row_number() over (partition by source_layer, target_layer order by skill desc, operator) = 1
        order by skill desc
        """,
        [collection, _policy(collection), list(BASELINES)],
    )
    n = min(3, len(found) // 2)
    for name, some in (("best", found[:n]), ("worst", found[len(found) - n :])):
        for o in some:
            pair = f"{o['source_layer']} → {o['target_layer']}"
            identity, update = format_value(o["r2_test_identity"]), format_value(o["r2_update"])
            table.add_row(name, pair, o["method"], _interval(o, "r2_test"), identity, _interval(o, "skill"), update)
    return table


def _efficiency(collection: str) -> Table:
    """A row a leap: means over sources, at a small rank and at full rank."""
    columns = {
        "ceiling, held out": "ceiling_held_out",
        "in-sample": "ceiling_in_sample",
        "efficiency, rank 64": "efficiency_rank_64",
        "full rank": "efficiency",
        "as published, rank 64": "efficiency_paper_rank_64",
        "as published, full rank": "efficiency_paper",
        "subspace size (participation)": "lts_dim_participation",
    }
    table = Table("leap", "pairs", *columns)
    for e in rows(
        None,
        "from efficiency_by_leap where collection = ? and position_policy = ? order by leap",
        [collection, _policy(collection)],
    ):
        table.add_row(str(e["leap"]), str(e["n_pairs"]), *(format_value(e[f"mean_{c}"]) for c in columns.values()))
    return table


def _interval(row: dict[str, Any], name: str, digits: int = 3) -> str:
    if row[name] is None:
        return "–"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.{digits}f}" + ("" if low is None else f" [dim]\\[{low:.{digits}f}, {high:.{digits}f}][/]")


def show_stage(stage: str, collection: str) -> None:
    """Print the main table of one stage of a collection.

    Raises:
        DamagedFileError: a table that it reads has a missing or short file.
    """
    query, connection = STAGES[stage].query, connect()
    with running(connection):
        relation = connection.sql(query, params=[collection]).materialize()
    show_relation(relation, title=f"{stage}: {collection}")
