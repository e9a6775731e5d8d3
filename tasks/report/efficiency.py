"""Figure 4 of the study: transport efficiency against rank, with bracket, permutation null and published curve."""

from typing import TYPE_CHECKING

from ato.evaluation.colours import RANK_CURVES
from tasks.report.drawing import MUTED, WIDTH
from tasks.report.numbers import extent, number
from tasks.report.panels import Panel, Rows, Scope, absent, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAPS = 4
"""Leaps shown; the study shows four."""


def panels(scope: Scope) -> list[Panel]:
    """The efficiency curves of the target layer with the most leaps."""
    key, title = "efficiency", "Transport efficiency against rank (Fig. 4)"
    pairs = scope.ask(
        f"select distinct target_layer, leap from efficiency_curves where {scope.of_collection} and {scope.of_policy}"
    )
    targets = [pair["target_layer"] for pair in pairs]
    # Most leaps first; among equals the shallowest, as the study's layer 10 is of its two.
    target = min(targets, key=lambda layer: (-targets.count(layer), layer), default=-1)
    leaps = spread([pair["leap"] for pair in pairs if pair["target_layer"] == target], LEAPS)
    sql = f"""select target_layer, source_layer, leap, rank, d_kept, n_train, n_test, ceiling_in_sample, ceiling_held_out,
    ceiling_held_out_low, ceiling_held_out_high, ceiling_null, r2_rrr, r2_rrr_low, r2_rrr_high,
    efficiency, efficiency_low, efficiency_high, efficiency_against_in_sample,
    r2_svd_paper, efficiency_paper, bracket_wide, few_tokens
from efficiency_curves
where {scope.of_collection} and {scope.of_policy} and is_latest
    and target_layer = {target} and leap in ({", ".join(map(str, leaps)) or "null"})
order by leap, rank"""
    rows = scope.ask(sql)
    if not rows:
        return [absent(key, title, sql, "no ceilings yet, run `ato run evaluate`")]
    last = [max((r for r in rows if r["leap"] == leap), key=lambda r: r["rank"]) for leap in leaps]
    seen = "; ".join(
        f"leap {r['leap']}: efficiency {number(r['efficiency'])} at rank {r['rank']}, as published "
        f"{number(r['efficiency_paper'])}, ceiling {number(r['ceiling_held_out'])} held out and "
        f"{number(r['ceiling_in_sample'])} in-sample"
        for r in last
    )
    wide = sum(row["bracket_wide"] for row in rows)
    return [
        Panel(
            key,
            f"{title}, target layer {target}",
            sql,
            rows,
            draw=_draw,
            caption="Top: whitened r2 against rank r. The band runs from the held-out to the in-sample ceiling; dots "
            "are the best map of that rank on test tokens, with 95 % intervals by document; dotted is the permutation "
            "null (ceiling with documents shuffled). Bottom: transport efficiency, r2 of the map over the ceiling. The "
            "band runs from the in-sample to the held-out ceiling, with 95 % intervals; dashed is the published "
            "estimate (truncated SVD of ridge on test over the in-sample ceiling), clipped at -0.5. Rank axis is "
            "logarithmic.",
            n=f"{extent(rows, 'n_train')} train and {extent(rows, 'n_test')} test tokens, {extent(rows, 'd_kept')} "
            f"kept dimensions; {wide} of {len(rows)} brackets wider than 0.05; position policy {scope.position_policy}"
            + (
                "; fewer than 10 train tokens per dimension: in-sample numbers are optimistic"
                if rows[0]["few_tokens"]
                else ""
            ),
            alt=f"Efficiency at the largest rank. {seen}.",
        )
    ]


def _draw(figure: "Figure", rows: Rows) -> None:
    leaps = sorted({row["leap"] for row in rows})
    figure.set_size_inches(WIDTH, 5.2)
    grid = figure.subplots(2, len(leaps), sharex=True, sharey="row", squeeze=False)
    for (top, bottom), leap in zip(grid.T, leaps):
        some = [row for row in rows if row["leap"] == leap]
        ranks = [row["rank"] for row in some]

        def column(name: str, some: Rows = some) -> list[float]:
            return [float("nan") if row[name] is None else row[name] for row in some]

        held_out, in_sample = column("ceiling_held_out"), column("ceiling_in_sample")
        top.fill_between(
            ranks,
            held_out,
            in_sample,
            color=RANK_CURVES["ceiling_held_out"],
            alpha=0.25,
            lw=0,
            label="ceiling: held-out to in-sample",
        )
        top.plot(ranks, held_out, color=RANK_CURVES["ceiling_held_out"], lw=1.0)
        top.plot(ranks, in_sample, color=RANK_CURVES["ceiling_in_sample"], lw=1.0)
        top.plot(ranks, column("ceiling_null"), ":", color=RANK_CURVES["ceiling_null"], label="permutation null")
        top.vlines(ranks, column("r2_rrr_low"), column("r2_rrr_high"), color=RANK_CURVES["best_map"], lw=1.0)
        top.plot(ranks, column("r2_rrr"), "o", ms=3, color=RANK_CURVES["best_map"], label="best map of that rank")
        top.set(title=f"{some[0]['source_layer']} → {some[0]['target_layer']} (leap {leap})", xscale="log")
        low, high = column("efficiency_against_in_sample"), column("efficiency")
        bottom.fill_between(ranks, low, high, color=RANK_CURVES["best_map"], alpha=0.35, lw=0)
        bottom.plot(ranks, high, "o-", ms=3, color=RANK_CURVES["best_map"], label="efficiency, bracketed")
        bottom.vlines(ranks, column("efficiency_low"), column("efficiency_high"), color=RANK_CURVES["best_map"], lw=1.0)
        bottom.plot(ranks, column("efficiency_paper"), "--", color=RANK_CURVES["as_published"], label="as published")
        bottom.axhline(1.0, color=MUTED, lw=0.8)
        bottom.set(xlabel="rank r", ylim=(-0.5, 1.25))
        ticks = [tick for tick in (1, 4, 16, 64, 256, 1024, 4096) if tick <= max(ranks)]
        bottom.set_xticks(ticks, map(str, ticks))
        bottom.minorticks_off()
    grid[0, 0].set_ylabel("whitened r2")
    grid[1, 0].set_ylabel("transport efficiency")
    for axes in grid[:, -1]:
        axes.legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1, 0.5))
