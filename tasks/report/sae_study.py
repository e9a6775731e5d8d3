"""Many SAEs compared: what differs by more than seeds do, in sentences; frontiers and the table."""

from itertools import groupby
from typing import TYPE_CHECKING, Any

from ato.sae_studies.colours import architecture_colours
from tasks.report.drawing import interval_bars, mark
from tasks.report.numbers import extent, number, with_interval
from tasks.report.overview import html_table
from tasks.report.panels import Panel, Rows, Scope, absent, in_sentences, spread
from tasks.report.sae_emergence import COMMAND, emergence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = {
    "fvu": "FVU",
    "ce_recovered": "loss recovered",
    "kl": "KL when spliced in",
    "probe_auroc_1": "AUROC of probes of one feature",
    "probe_auroc_5": "AUROC of probes of five features",
    "matched_cosine": "agreement between seeds",
}
"""Metrics that sentences are made of, in their order."""


def panels(scope: Scope) -> list[Panel]:
    """Findings, frontiers, comparison, emergence; nothing where no SAE was studied."""
    if not scope.ask(f"select collection from sae_studies where {scope.of_collection} limit 1"):
        return []
    return [_findings(scope), _frontier(scope), _comparison(scope), *_innovations(scope), emergence(scope)]


def _findings(scope: Scope) -> Panel:
    key, title = "sae-findings", "SAE study: differences beyond the variation over seeds"
    listed = ", ".join(f"'{name}'" for name in METRICS)
    sql = f"""select layer, site, target_site, has_skip,
    metric, k, d_sae, architecture, source, place, n_seeds, mean, sd, l0, next_architecture, next_mean,
    difference, spread, exceeds_spread, at_equal_l0, best_baseline, baseline_mean, baseline_difference, baseline_spread,
    beats_baselines, baseline_at_equal_l0, better, study
from sae_frontier
where {scope.of_collection} and place = 1 and metric in ({listed}) and mean is not null
order by layer, site, target_site nulls first, has_skip, d_sae, k, list_position([{listed}], metric)"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no SAE that was trained here is judged yet, {COMMAND}")
    caption = (
        "The best architecture of each layer, width and k, its mean over seeds with their standard deviation (sd), beside the next "
        "best and the best baseline. Spread: square root of the sum of the squared standard deviations of both. A difference "
        "within the spread is not a finding, a single seed has no spread, and at unequal L0 (by more than a tenth) "
        "error and sparsity are confounded."
    )
    n = f"{extent(rows, 'n_seeds')} seeds of a kind"
    return in_sentences(Panel(key, title, sql, rows, caption, n, ""), [_compared(r) for r in rows])


def _compared(r: dict[str, Any]) -> str:
    """One metric at one layer, width and k: best against next, and against the best baseline."""
    seeds = f"{r['n_seeds']} seed{'s' if r['n_seeds'] != 1 else ''}"
    sd = "" if r["sd"] is None else f", sd {r['sd']:.4f}"
    where = f"{_place(r).capitalize()}{' with skip connection' * r['has_skip']}, k = {r['k']}, {r['d_sae']:,} features"
    return (
        f"{where}: best {METRICS[r['metric']]} has {r['architecture']} with {number(r['mean'], 3)} ({seeds}{sd}, L0 "
        f"{number(r['l0'], 1)}). {_against_next(r)} {_against_baseline(r)}"
    ).rstrip()


def _place(r: dict[str, Any]) -> str:
    """Layer, and site if it is not the residual stream; of transcoders what they read and write."""
    if r["target_site"] is not None:
        return f"layer {r['layer']}, transcoders {r['site']} to {r['target_site']}"
    return f"layer {r['layer']}" + ("" if r["site"] == "resid_post" else f", {r['site']}")


def _against_next(r: dict[str, Any]) -> str:
    if r["next_architecture"] is None:
        return "No other architecture is there to compare with."
    step = f"{r['next_architecture']} has {number(r['next_mean'], 3)}: a difference of {number(r['difference'], 4)}"
    if r["exceeds_spread"] is None:
        return f"{step}, of which one seed cannot say whether it is more than seeds make."
    if not r["exceeds_spread"]:
        return f"{step}, within the spread over seeds of {number(r['spread'], 4)}: not a finding."
    unequal = "" if r["at_equal_l0"] else ", but at unequal L0"
    return f"{step}, beyond the spread over seeds of {number(r['spread'], 4)}{unequal}."


def _against_baseline(r: dict[str, Any]) -> str:
    if r["best_baseline"] is None:
        return "No baseline was judged."
    told = f"the best baseline, {r['best_baseline']}, which has {number(r['baseline_mean'], 3)}"
    if r["beats_baselines"] is None:
        return f"Beside it stands {told}; one seed cannot tell them apart."
    unequal = "" if r["baseline_at_equal_l0"] else " (at unequal L0)"
    return f"It {'beats' if r['beats_baselines'] else 'does not beat'} {told}{unequal}."


COMPARED = """select layer, site, target_site, has_skip, label, architecture, is_baseline, d_sae, k, seed, l0, fvu, fvu_low, fvu_high,
    ce_recovered, ce_recovered_low, ce_recovered_high, kl, dead_share, shrinkage, absorption_fraction, matched_cosine, probe_auroc_1,
    probe_auroc_5, n_tokens, n_documents, source
from sae_comparison
where {where}
order by layer, site, target_site nulls first, is_baseline, architecture, d_sae, k, seed, label"""


def _frontier(scope: Scope) -> Panel:
    key, title = "sae-frontier", "SAE study: error and loss recovered against L0"
    sql = COMPARED.format(where=f"{scope.of_collection} and (l0 > 0 or is_baseline) and fvu is not null")
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no SAE is judged yet, {COMMAND}")
    best = {place: min(some, key=lambda r: r["fvu"]) for place, some in _by_place(rows)}
    lowest = "; ".join(
        f"{place}: lowest FVU {with_interval(r, 'fvu')} at L0 {r['l0']:.1f}, {r['label']}" for place, r in best.items()
    )
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_frontier,
        caption="FVU (left, lower is better) and loss recovered (right, higher is better) against L0, a row a layer and "
        "site. A point is one seed, its bar the 95 % interval by document; hollow diamonds are baselines at equal L0, triangles "
        "transcoders with a skip connection, the dashed line the linear map without features.",
        n=f"{len(rows)} SAEs and baselines, {extent(rows, 'n_tokens')} held-out tokens of {extent(rows, 'n_documents')} documents",
        alt=f"Error and loss recovered against L0. {lowest}.",
    )


def _by_place(rows: Rows) -> list[tuple[str, Rows]]:
    return [(place, list(some)) for place, some in groupby(rows, key=_place)]


def _draw_frontier(figure: "Figure", rows: Rows) -> None:
    groups = _by_place(rows)
    colours = architecture_colours(r["architecture"] for r in rows)
    figure.set_size_inches(figure.get_figwidth(), 0.8 + 2.9 * len(groups))
    grid = figure.subplots(len(groups), 2, squeeze=False)
    for line, (place, some) in zip(grid, groups):
        for axes, (metric, label) in zip(line, (("fvu", "FVU"), ("ce_recovered", "loss recovered"))):
            for r in some:
                if not r["l0"] and r[metric] is not None:
                    axes.axhline(r[metric], color=colours[r["architecture"]], ls="--", lw=1)
            active = [r for r in some if r["l0"] and r[metric] is not None]
            for (name, skips), own in _by_kind(active):
                style = {"mfc": "none", "fmt": "D"} if own[0]["is_baseline"] else {"fmt": "^" if skips else "o"}
                interval_bars(axes, [r["l0"] for r in own], own, metric, colours[name], ms=4.5, **style)
            axes.set(xscale="log", xlabel="L0 (active features per token)", ylabel=label, title=place)
            axes.margins(x=0.15)
            known = [float(f"{r['l0']:.2g}") for r in some if r["l0"]]
            axes.set_xticks(ticks := spread(known, 6), [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
    marks = [mark(name, colour) for name, colour in colours.items()]
    figure.legend(handles=marks, loc="outside lower center", ncols=6)


def _by_kind(rows: Rows) -> list[tuple[tuple[str, bool], Rows]]:
    """Rows of each architecture, with a skip connection and without."""
    kinds: dict[tuple[str, bool], Rows] = {}
    for r in rows:
        kinds.setdefault((r["architecture"], r["has_skip"]), []).append(r)
    return [*kinds.items()]


def _comparison(scope: Scope) -> Panel:
    key, title = "sae-comparison", "SAE study: comparison"
    sql = COMPARED.format(where=scope.of_collection)
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no SAE is judged yet, {COMMAND}")
    columns = {
        "layer": "layer",
        "SAE": "label",
        "features": "d_sae",
        "L0": "l0",
        "FVU": "fvu",
        "loss recovered": "ce_recovered",
        "KL": "kl",
        "dead": "dead_share",
        "shrinkage": "shrinkage",
        "absorption": "absorption_fraction",
        "seed agreement": "matched_cosine",
        "probe, 1": "probe_auroc_1",
        "probe, 5": "probe_auroc_5",
    }
    lines = [[_cell(r, name) for name in columns.values()] for r in rows]
    caption = (
        "Each SAE and baseline on the same held-out tokens, 95 % intervals by document in brackets. Compare at equal L0. Dead: share "
        "of features that fired on no held-out token. A dash: not measured; sae_quality says why."
    )
    n = f"{extent(rows, 'n_tokens')} held-out tokens of {extent(rows, 'n_documents')} documents"
    return Panel(key, title, sql, rows, caption, n, "", body=html_table(columns, lines))


def _cell(r: dict[str, Any], name: str) -> str:
    value = r[name]
    if name in ("layer", "label", "d_sae"):
        return str(value)
    return with_interval(r, name, 1 if name == "l0" else 3)


INNOVATIONS = {
    "fvu": "FVU of y",
    "ce_recovered": "loss recovered",
    "kl": "KL",
    "layer_cosine": "cosine to the layer before",
}
"""Metric of ``innovation_comparisons`` -> as the table has it."""


def _innovations(scope: Scope) -> list[Panel]:
    """Innovation SAEs beside plain ones; nothing where no study has any."""
    sql = f"""select metric, layers, k, seed, architecture, d_sae, plain_d_sae, innovation, innovation_low, innovation_high, plain,
    plain_low, plain_high, difference, difference_low, difference_high, baseline, l0, plain_l0, n_parameters, plain_n_parameters, n, study
from innovation_overview
where {scope.of_collection}
order by list_position(['fvu', 'ce_recovered', 'kl', 'layer_cosine'], metric), n_layers, layer, k, seed, plain_d_sae"""
    rows = scope.ask(sql)
    if not rows:
        return []
    columns = ["metric", "layers", "k", "parameters", "of plain", "innovation", "plain", "difference", "baseline"]
    lines = [
        [
            INNOVATIONS[r["metric"]],
            ", ".join(map(str, r["layers"])),
            str(r["k"]),
            f"{r['n_parameters']:,}",
            f"{r['plain_n_parameters']:,}",
            *(with_interval(r, side, 3) for side in ("innovation", "plain", "difference")),
            number(r["baseline"], 3),
        ]
        for r in rows
    ]
    caption = (
        "Innovation SAEs rebuild y as T x + b and what they decode of the rest, beside plain SAEs of equal k, of as many features "
        "and of as many parameters (T and b count). Several layers are replaced at once, the first by the same plain SAE. "
        "Difference: innovation minus plain, 95 % intervals paired by document; of cosines by feature. Baseline: T x + b without "
        "features; of cosines random directions in place of the layer before."
    )
    title = "SAE study: innovation SAEs beside plain ones"
    n = f"{extent(rows, 'n')} documents, or features of cosines"
    return [Panel("sae-innovations", title, sql, rows, caption, n, "", body=html_table(columns, lines))]
