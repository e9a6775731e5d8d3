"""Figures 2 and 3 of the study: per-feature r2 by depth and leap, and the map of all sources and targets."""

from itertools import groupby
from typing import TYPE_CHECKING, Any

from ato.evaluation.map_colours import ANCHORS, map_ink
from tasks.report.drawing import COLOURS, INK, WIDTH, grid_shape, interval_bars
from tasks.report.numbers import extent, number
from tasks.report.panels import Panel, Rows, Scope, absent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


WHICH = {"all": "all scored", "selected": "the selected"}
NOT_EVALUATED = {
    "all": "no features evaluated yet, run `ato run evaluate`",
    "selected": "no selected features evaluated yet, run `ato run features` and `ato run evaluate`",
}


def panels(scope: Scope) -> list[Panel]:
    """Both figures."""
    return [_by_depth(scope), _map(scope)]


def _by_depth(scope: Scope) -> Panel:
    key, title = "feature-r2", "Per-feature r2 by depth and leap (Fig. 2)"
    sql = f"""select target_layer, sae, leap, source_layer, features, n_features, n_active, mean_r2, mean_r2_low, mean_r2_high,
    r2_q05, r2_q25, r2_q50, r2_q75, r2_q95
from feature_depth
where {scope.where} and {scope.of_features}
order by target_layer, sae, leap"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, NOT_EVALUATED[scope.features])
    ends = [
        f"layer {layer}: {number(some[0]['mean_r2'])} at leap {some[0]['leap']}, {number(some[-1]['mean_r2'])} at leap "
        f"{some[-1]['leap']}"
        for (layer, _), some in _by_sae(rows)
    ]
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_depth,
        caption=f"Distribution of r2 over {WHICH[scope.features]} SAE features of a target layer: dot median, diamond mean (bars: "
        "95 % interval of the mean, by document), thick bar 25 to 75 %, thin bar 5 to 95 %. r2 is on "
        "held-out tokens where the SAE has the feature active. The axis is clipped at -1; the numbers below are not.",
        n=f"{extent(rows, 'n_features')} features per box, each on {extent(rows, 'n_active')} active test tokens; "
        f"method {scope.method}, position policy {scope.position_policy}",
        alt="Mean per-feature r2. " + "; ".join(ends) + ".",
    )


def _by_sae(rows: Rows) -> list[tuple[tuple[int, str], Rows]]:
    return [(group, list(some)) for group, some in groupby(rows, key=lambda r: (r["target_layer"], r["sae"]))]


def _draw_depth(figure: "Figure", rows: Rows) -> None:
    groups = _by_sae(rows)
    height, width = grid_shape(len(groups), 4)
    figure.set_size_inches(WIDTH, 0.4 + 2.9 * height)
    grid = figure.subplots(height, width, sharey=True, squeeze=False)
    # A few hopeless features reach far below 0; the axis ends where the bulk does.
    floor = max(-1.05, min(0.0, *(row["r2_q05"] for row in rows)) - 0.05)
    for axes, ((layer, _), some) in zip(grid.flat, groups):
        leaps = [row["leap"] for row in some]
        axes.vlines(leaps, [r["r2_q05"] for r in some], [r["r2_q95"] for r in some], color=COLOURS[4], lw=1.2)
        axes.vlines(leaps, [r["r2_q25"] for r in some], [r["r2_q75"] for r in some], color=COLOURS[0], lw=6)
        axes.plot(leaps, [r["r2_q50"] for r in some], "o", ms=4, mfc="white", mec=INK, zorder=4)
        interval_bars(axes, leaps, some, "mean_r2", COLOURS[1], fmt="D", ms=4, zorder=5)
        for row in some:
            axes.annotate(f"{row['n_features']}", (row["leap"], 1.02), ha="center", va="bottom", fontsize=6.5)
        axes.set(title=f"target layer {layer}", xlabel="leap k (blocks)", xticks=leaps, ylim=(floor, 1.12))
        axes.margins(x=0.12)
    _finish(grid, len(groups), "per-feature r2")


def _finish(grid: Any, used: int, label: str) -> None:
    """Label the left axes and hide unused ones."""
    for i, axes in enumerate(grid.flat):
        if i >= used:
            axes.set_visible(False)
        elif i % grid.shape[1] == 0:
            axes.set_ylabel(label)


def _map(scope: Scope) -> Panel:
    key, title = "transport-map", "Source × target map (Fig. 3)"
    mean, count = (
        ("mean_r2", "n_features_scored") if scope.features == "all" else ("mean_r2_selected", "n_features_selected")
    )
    sql = f"""select o.source_layer, o.target_layer, o.leap, o.operator, o.n_test, o.n_test_documents,
    o.r2_test, o.r2_test_low, o.r2_test_high, m.sae,
    m.{mean} as feature_r2, m.{mean}_low as feature_r2_low, m.{mean}_high as feature_r2_high, m.{count} as n_features
from operators as o
left join transport_map as m on m.collection = o.collection and m.operator = o.operator and m.is_latest
where {scope.conditions("o")}
qualify row_number() over (partition by o.source_layer, o.target_layer order by o.r2_val desc nulls last, o.operator, m.sae) = 1
order by o.source_layer, o.target_layer"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, "no operators yet, run `ato run operators`")
    best = max(rows, key=lambda r: r["r2_test"] if r["r2_test"] is not None else -1e9)
    worst = min(rows, key=lambda r: r["r2_test"] if r["r2_test"] is not None else 1e9)
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_map,
        caption=f"Left: mean r2 over {WHICH[scope.features]} features of the target's SAE on active held-out "
        "tokens; each target has its own features, so do not compare across columns. Right: r2 of the residual stream, "
        "mean over dimensions. Rows are source layers, the lowest first, columns target layers; colour runs from "
        "0 (dark) to 1 (light). 95 % intervals by document are in the numbers below.",
        n=f"{len(rows)} operators; {extent([r for r in rows if r['feature_r2'] is not None], 'n_features')} features "
        f"per cell; {extent(rows, 'n_test')} test tokens of {extent(rows, 'n_test_documents')} documents",
        alt=f"Heat map of {len(rows)} layer pairs. Residual r2 is largest from {best['source_layer']} to "
        f"{best['target_layer']} ({number(best['r2_test'])}) and smallest from {worst['source_layer']} to "
        f"{worst['target_layer']} ({number(worst['r2_test'])}).",
    )


def _draw_map(figure: "Figure", rows: Rows) -> None:
    figure.set_size_inches(WIDTH, 1.3 + 0.3 * max(len(_layers(rows, "source_layer")), 4))
    left, right = figure.subplots(1, 2, sharey=True)
    _heat(left, rows, "feature_r2", "mean per-feature r2")
    _heat(right, rows, "r2_test", "residual r2")
    left.set_ylabel("source layer")
    left.invert_yaxis()  # the lowest source on top, as on the page and in the terminal; the right map shares the axis


def _layers(rows: Rows, name: str) -> list[int]:
    return sorted({row[name] for row in rows})


def _heat(axes: Any, rows: Rows, name: str, title: str) -> None:
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    sources, targets = _layers(rows, "source_layer"), _layers(rows, "target_layer")
    values = np.full((len(sources), len(targets)), np.nan)
    for row in rows:
        if row[name] is not None:
            values[sources.index(row["source_layer"]), targets.index(row["target_layer"])] = row[name]
    colours = LinearSegmentedColormap.from_list("map", list(ANCHORS))
    edges = (np.arange(len(targets) + 1) - 0.5, np.arange(len(sources) + 1) - 0.5)
    axes.pcolormesh(*edges, np.ma.masked_invalid(np.clip(values, 0, 1)), cmap=colours, vmin=0, vmax=1)
    size = 7.5 if len(targets) <= 10 else 5.0
    for i, j in np.argwhere(np.isfinite(values)):
        ink = map_ink(values[i, j])
        axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=size, color=ink)
    axes.set(title=title, xlabel="target layer", xticks=range(len(targets)), yticks=range(len(sources)))
    axes.set_xticklabels(targets, fontsize=max(size, 6))
    axes.set_yticklabels(sources, fontsize=max(size, 6))
    axes.grid(False)
