"""The operators of a study: the map of what they transport, the best and the worst pairs, and the efficiency by leap."""

from collections.abc import Iterator

from rich.table import Table

from ato.evaluation.map_colours import map_colour, map_ink
from ato.operators.methods import BASELINES
from flows.commands.summary.layout import CELL, estimate_cell, plain_table
from tasks.settings.report import Features
from warehouse.catalog.catalog import rows


def transport_maps(collection: str, width: int, features: Features) -> Iterator[Table]:
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
        table = plain_table("source", *(f"→ {t}" for t in targets))
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


def best_and_worst(collection: str) -> Table:
    """A row a pair with its best fitted operator: the three best and the three worst pairs."""
    table = plain_table("pair", "method", "r2", "identity", "skill", "update")
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
            scores = [estimate_cell(o, name, with_interval=False) for name in ("r2_test", "r2_test_identity")]
            update = estimate_cell(o, "r2_update", with_interval=False)
            table.add_row(
                f"{o['source_layer']} → {o['target_layer']}", o["method"], *scores, estimate_cell(o, "skill"), update
            )
        table.add_section()
    return table


def efficiency_tables(collection: str, width: int) -> Iterator[Table]:
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
        table = plain_table("leap", *(str(e["leap"]) for e in leaps))
        table.add_row("pairs", *(str(e["n_pairs"]) for e in leaps))
        for measure, name in measures.items():
            if "rank 64" in measure and all(e[name] is None for e in found):
                continue  # no pair was evaluated at that rank
            digits = 1 if name == "mean_lts_dim_participation" else 3
            table.add_row(measure, *(estimate_cell(e, name, digits, with_interval=False) for e in leaps))
        yield table


def _policy(collection: str) -> str | None:
    """Position policy of the operators fitted last."""
    found = rows(
        None,
        "select position_policy from operators as o join stage_runs as r on ends_with(o.operator, r.key) "
        "where o.collection = ? order by r.started_at desc limit 1",
        [collection],
    )
    return found[0]["position_policy"] if found else None
