"""``ato show``: what a study found in words and tables (findings, SAEs, transport map, operators), or one stage's main table."""

import io
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ato.causal.intervention_names import SHOWN, edited_in_words, in_shown_order
from ato.evaluation.map_colours import map_colour, map_ink
from ato.operators.methods import BASELINES
from flows.commands.sql import show_relation
from flows.estimates.estimate import duration, size
from flows.stages import STAGES
from tasks.settings.report import Features
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.finding_texts import OF_COLLECTION, findings_of
from warehouse.catalog.sql_errors import running
from warehouse.storage.warehouse import Warehouse

WIDTH = 80
"""Width of a summary that is not printed on a terminal, in characters; every part of it fits."""

EXAMPLES = (
    "select source_layer, target_layer, mean_r2, share_transported, share_synthesised from transport_map "
    "where method = 'ridge' order by mean_r2 desc limit 5",
    "select target_layer, leap, verdict, count(*) as features from feature_transport where method = 'ridge' group by all order by all",
    "select rank, avg(efficiency) as efficiency, avg(efficiency_paper) as as_published from efficiency_curves "
    "where leap = 2 group by rank order by rank",
)
"""Three queries to try; README has them too."""

ENTITY_EXAMPLES = (
    "select entity_type, label, count(*) as entities, avg(n_tokens) as tokens from entity_knowledge group by all order by all",
    "select direction, layer, feature_id, auroc, auroc_low, auroc_high, q, best_baseline, best_baseline_auroc, beats_baselines "
    "from entity_latent_ranking where contrast = 'known_unknown' and entity_type = 'all' order by direction, rank limit 10",
    "select direction, source_layer, target_layer, carried, r2, r2_identity, verdict_text from entity_latent_transport "
    "where contrast = 'known_unknown' and rank = 1 order by direction, method, source_layer",
)
"""The same about entities, for those who have asked about some."""

STUDY_EXAMPLES = (
    "select label, l0, fvu, ce_recovered, dead_share, matched_cosine from sae_comparison order by k, is_baseline, fvu",
    "select architecture, k, n_seeds, mean, sd, next_architecture, difference, exceeds_spread, at_equal_l0, best_baseline, baseline_mean "
    "from sae_frontier where metric = 'fvu' and not is_baseline order by k, place",
)
"""The same about a study of SAEs."""


NO_FINDINGS = "Nothing is found yet: run `ato run pipeline`."


def show_summary(collection: str, features: Features = "all") -> None:
    """Print the summary of a collection, its transport map over all scored features or over the selected ones."""
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    console.print(Group(*summary(collection, console.width, features)))


def show_findings(collection: str) -> None:
    """Print what the study found, in words."""
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    console.print(Group(_collection(collection), *(_findings(collection) or [Text(NO_FINDINGS)])))


def draw_summary(collection: str, path: Path, features: Features = "all") -> None:
    """Write the summary of a collection as an SVG picture that needs no external font or file."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False, force_terminal=True)
    console.print(Group(*summary(collection, WIDTH, features)))
    template = re.sub(r"@font-face\s*{{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    path.write_text(console.export_svg(code_format=template), encoding="utf-8")


def summary(collection: str, width: int, features: Features = "all") -> Iterator[Any]:
    """Parts of the summary, as rich renderables for lines of so many characters."""
    yield _collection(collection)
    yield from _findings(collection)
    yield from _saes(collection)
    best = _features(collection)
    if best.row_count:
        yield from _titled("Selected features: the best three of each SAE, by the tokens they promote", best)
    yield from _titled(
        f"Transport map: mean r2 of {'all scored' if features == 'all' else 'the selected'} SAE features under ridge "
        "(in brackets: r2 of the residual, where the target has no SAE)",
        *_transport_map(collection, width, features),
    )
    yield from _titled(
        "Best fitted operator of each pair, at most three best and three worst pairs: r2 on test tokens, of the "
        "identity, skill against it, r2 of the update",
        _extremes(collection),
    )
    yield from _titled(
        "Transport efficiency by leap: means over sources, as we correct it and as it was published",
        *_efficiency(collection, width),
    )
    yield from _causal(collection)
    yield from _titled("What each stage took", _cost(collection))
    yield Text(f"\nTables: {_place(Warehouse())}", no_wrap=True, overflow="ignore")
    yield Text("List them with `ato tables`, query them:")
    for query in (*EXAMPLES, *_examples(collection)):
        yield Text(
            "\n".join(folded_command(f'ato sql "{query}"', width)), style="cyan", no_wrap=True, overflow="ignore"
        )


def _examples(collection: str) -> Iterator[str]:
    """Queries about the studies on demand that were run."""
    for table, queries in (("entities", ENTITY_EXAMPLES), ("sae_studies", STUDY_EXAMPLES)):
        if rows(None, f"select collection from {table} where collection = ? limit 1", [collection]):
            yield from queries


def folded_command(command: str, width: int) -> list[str]:
    """A command on lines of a width: a line break within the quotes of a query is a blank to SQL."""
    return textwrap.wrap(
        command,
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _place(warehouse: Warehouse) -> str:
    """Address of the warehouse, relative if it lies below the working folder."""
    here = Path.cwd()
    local = warehouse.storage.is_local and Path(warehouse.root).is_relative_to(here)
    return str(Path(warehouse.root).relative_to(here)) if local else warehouse.root


def _titled(title: str, *tables: Table) -> Iterator[Any]:
    """The title on a line of its own: a table would fold it to the table's width."""
    yield Text(f"\n{title}", style="bold")
    for i, table in enumerate(tables):
        yield from [table] if i == 0 else ["", table]


def _collection(collection: str) -> Text:
    c = rows(None, "from collections where collection = ?", [collection])[0]
    dropped = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in c["dropped_by_reason"].items()) or "none"
    text = Text(f"\n{collection}\n", style="bold")
    text.append(
        f"{c['model']} ({c['n_layers']} layers, d = {c['d_model']}, {c['dtype']}) on {c['corpus']}: {c['n_tokens']:,} tokens "
        f"in {c['n_sequences']:,} sequences of {c['n_documents']:,} documents; {c['n_kept']:,} kept at {len(c['layers'])} "
        f"layers; dropped: {dropped}\n",
        style="not bold",
    )
    return text


def _findings(collection: str) -> list[Any]:
    """The findings as sentences, each behind its topic."""
    found = findings_of(rows(None, OF_COLLECTION, {"collection": collection}))
    told = [Text.assemble((f"{finding.topic}: ", "bold"), finding.text) for finding in found]
    return [Text("\nFindings (in brackets: 95 % intervals)", style="bold"), *told] if told else []


def _table(*heads: str) -> Table:
    """A table without vertical lines, whose numbers and names are never folded."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, no_wrap=True, overflow="ellipsis")
    return table


def _saes(collection: str) -> Iterator[Any]:
    found = rows(None, "from saes where collection = ? order by layer, sae", [collection])
    if not found:
        return
    table = _table("layer", "features", "L0", "FVU", "loss recovered", "dead", "trusted")
    for s in found:
        table.add_row(
            str(s["layer"]),
            f"{s['d_sae']:,}",
            f"{s['l0']:.0f}",
            _interval(s, "fvu"),
            _interval(s, "ce_recovered"),
            f"{s['dead_share']:.0%}",
            "yes" if s["trusted"] else "[red]no[/]",
        )
    yield from _titled(
        f"Sparse autoencoders on held-out text ({', '.join(sorted({s['architecture'] for s in found}))})", table
    )
    for s in found:
        if not s["trusted"]:
            yield Text(f"layer {s['layer']} is not trusted: {s['distrust_reason']}")
        if s["warning"]:
            yield Text(f"layer {s['layer']}: {s['warning']}")


def _features(collection: str) -> Table:
    table = _table("layer", "selected", "best three")
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
        best = "\n".join("".join(c if c.isprintable() else "·" for c in feature) for feature in f["best"] or [])
        table.add_row(str(f["layer"]), f"{f['n_selected']:,} of {f['n']:,}", Text(best))
    return table


CELL = 9
"""Characters of a column of the transport map, with the gap before it."""


def _causal(collection: str) -> Iterator[Any]:
    """A row a pair and method, at the set of edited positions that the report and the dashboard show at first."""
    found = rows(None, "from causal_summary where collection = ? and feature_id is null", [collection])
    if not found:
        return
    edited = in_shown_order(row["position_set"] for row in found)[0]
    found = [row for row in found if row["position_set"] == edited]
    several = len({row["method"] for row in found}) > 1
    heads = (name.replace("_rotation", "\nrot.") for name in SHOWN)  # no wider than numbers below 0
    costs = _table("pair", "loss", *heads)
    rivals = _table("pair", "transport – identity", "p", *(f"– {name.replace('_', chr(10))}" for name in SHOWN[2:]))
    for target, source, method in sorted({(r["target_layer"], r["source_layer"], r["method"]) for r in found}):
        line = {
            r["intervention"]: r
            for r in found
            if (r["target_layer"], r["source_layer"], r["method"]) == (target, source, method)
        }
        first = next(iter(line.values()))
        effects = [
            "–" if name not in line else _interval(line[name], "delta_log_ppl", with_interval=name == "transport")
            for name in SHOWN
        ]
        pair = f"{source} → {target}" + (f"\n{method}" if several else "")
        costs.add_row(pair, _interval(first, "log_ppl_none", 2, with_interval=False), *effects)
        rivals.add_row(pair, *_against_rivals(line))
    n = sorted({row["n_sequences"] for row in found})
    yield from _titled(
        f"Causal check: rise of the next-token loss (nats) when residuals {edited_in_words(edited)} are "
        f"replaced in each of {' or '.join(map(str, n))} sequences",
        costs,
    )
    if any(row["difference"] is not None for row in found):
        yield from _titled(
            "The same, transport minus its rivals on the same sequences; below 0: transport costs less; "
            "*: the 95 % interval excludes 0",
            rivals,
        )


def _against_rivals(line: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Cells of one pair: transport minus the identity with its interval and p, then minus the others."""
    nothing = {"difference": None, "difference_p": None}
    identity = line.get("identity", nothing)
    yield _interval(identity, "difference")
    yield "–" if identity["difference_p"] is None else f"{identity['difference_p']:.4f}"
    for name in SHOWN[2:]:
        row = line.get(name, nothing)
        yield _interval(row, "difference", with_interval=False) + ("*" if row.get("difference_excludes_zero") else "")


def _policy(collection: str) -> str | None:
    """Position policy of the operators fitted last."""
    found = rows(
        None,
        "select position_policy from operators as o join stage_runs as r on ends_with(o.operator, r.key) "
        "where o.collection = ? order by r.started_at desc limit 1",
        [collection],
    )
    return found[0]["position_policy"] if found else None


def _transport_map(collection: str, width: int, features: Features) -> Iterator[Table]:
    """Source by target: mean r2 over features if the target has an SAE, else the r2 of the residual in brackets."""
    mean_r2 = "mean_r2" if features == "all" else "mean_r2_selected"
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
    every, most = sorted({target for _, target in plain}), (width - len("source")) // CELL
    for targets in (every[i : i + most] for i in range(0, len(every), most)):
        table = _table("source", *(f"→ {t}" for t in targets))
        for source in sorted({source for source, target in plain if target in targets}):
            line = []
            for target in targets:
                cell = cells.get((source, target))
                if cell is not None and cell[mean_r2] is not None:
                    value = cell[mean_r2]
                    line.append(f"[{map_ink(value)} on {map_colour(value)}] {value:.2f} [/]")
                else:
                    line.append(f"[dim]({plain[source, target]:.2f})[/]" if (source, target) in plain else "")
            table.add_row(str(source), *line)
        yield table


def _extremes(collection: str) -> Table:
    table = _table("pair", "method", "r2", "identity", "skill", "update")
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
    for some in (found[:3], found[3:][-3:]):
        for o in some:
            scores = [_interval(o, name, with_interval=False) for name in ("r2_test", "r2_test_identity")]
            update = _interval(o, "r2_update", with_interval=False)
            table.add_row(
                f"{o['source_layer']} → {o['target_layer']}", o["method"], *scores, _interval(o, "skill"), update
            )
        table.add_section()
    return table


def _efficiency(collection: str, width: int) -> Iterator[Table]:
    """A row a measure and a column a leap: means over sources, at a small rank and at full rank."""
    measures = {
        "ceiling, held out": "mean_ceiling_held_out",
        "ceiling, in-sample": "mean_ceiling_in_sample",
        "efficiency at rank 64": "mean_efficiency_rank_64",
        "efficiency at full rank": "mean_efficiency",
        "as published, rank 64": "mean_efficiency_paper_rank_64",
        "as published, full rank": "mean_efficiency_paper",
        "subspace size (participation)": "mean_lts_dim_participation",
    }
    found = rows(
        None,
        "from efficiency_by_leap where collection = ? and position_policy = ? order by leap",
        [collection, _policy(collection)],
    )
    most = (width - max(map(len, measures))) // CELL
    for leaps in (found[i : i + most] for i in range(0, len(found), most)):
        table = _table("leap", *(str(e["leap"]) for e in leaps))
        table.add_row("pairs", *(str(e["n_pairs"]) for e in leaps))
        for measure, name in measures.items():
            if "rank 64" in measure and all(e[name] is None for e in found):
                continue  # no pair was evaluated at that rank
            digits = 1 if name == "mean_lts_dim_participation" else 3
            table.add_row(measure, *(_interval(e, name, digits, with_interval=False) for e in leaps))
        yield table


def _cost(collection: str) -> Table:
    """A row a stage; a dash where nobody noted it."""
    table = _table("stage", "runs", "time", "CPU time", "peak memory", "tokens run", "disk")
    found = rows(
        None,
        "select stage, count(*) as n, sum(seconds) as seconds, sum(cpu_seconds) as cpu, max(peak_memory) as memory, "
        "max(tokens_run) as tokens, sum(bytes)::bigint as bytes from stage_runs where collection = ? "
        "group by stage order by min(started_at), stage",
        [collection],
    )
    for r in found:
        cpu, memory = (
            "–" if r[name] is None else shown(r[name]) for name, shown in (("cpu", duration), ("memory", size))
        )
        tokens = f"{r['tokens']:,}" if r["tokens"] else ""
        table.add_row(r["stage"], str(r["n"]), duration(r["seconds"]), cpu, memory, tokens, size(r["bytes"]))
    return table


def _interval(row: dict[str, Any], name: str, digits: int = 3, *, with_interval: bool = True) -> str:
    if row[name] is None:
        return "–"
    low, high = (row[f"{name}_low"], row[f"{name}_high"]) if with_interval else (None, None)
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
