"""Figure 5 of the study: log-perplexity when the residual at the target layer is replaced."""

from typing import TYPE_CHECKING, NamedTuple

from ato.causal.intervention_names import SHOWN, STUDY, in_shown_order
from ato.evaluation.colours import INTERVENTIONS
from tasks.report.drawing import COLOURS, INK, MUTED, WIDTH, grid_shape
from tasks.report.numbers import extent, with_interval
from tasks.report.panels import Panel, Rows, Scope, absent, spread, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRS = 6


class Shown(NamedTuple):
    """Which interventions the figures and claims are about."""

    position_set: str
    method: str

    @property
    def where(self) -> str:
        """Condition on ``causal_summary``."""
        return f"position_set = {text(self.position_set)} and method = {text(self.method)} and feature_id is null"


def shown(scope: Scope) -> Shown:
    """The scope's method, if transport was tried with it, and its first set of edited positions; empty without any."""
    found = scope.ask(
        f"select distinct method, position_set from causal_summary where {scope.of_collection} and intervention <> 'none' "
        "and feature_id is null"
    )
    if not found:
        return Shown("", scope.method)
    method = min((row["method"] for row in found), key=lambda name: (name != scope.method, name))
    return Shown(in_shown_order(row["position_set"] for row in found if row["method"] == method)[0], method)


def panels(scope: Scope) -> list[Panel]:
    """Costs of the interventions, and transport against its rivals."""
    return [_costs(scope), _differences(scope)]


def _costs(scope: Scope) -> Panel:
    """Cost of each intervention, one small chart per pair."""
    key, title = "causal", "Log-perplexity under interventions (Fig. 5)"
    chosen = shown(scope)
    found = scope.ask(
        f"select distinct target_layer, source_layer from causal_summary where {scope.of_collection} and {chosen.where}"
    )
    pairs = spread([tuple(pair.values()) for pair in found], PAIRS)
    wanted = ", ".join(f"({target}, {source})" for target, source in pairs) or "(null, null)"
    sql = f"""select source_layer, target_layer, method, intervention, position_set, n_sets, n_sequences, n_documents,
    log_ppl_none, log_ppl, delta_log_ppl, delta_log_ppl_low, delta_log_ppl_high,
    delta_edited_onwards, delta_edited_onwards_low, delta_edited_onwards_high, kl, kl_low, kl_high,
    difference, difference_low, difference_high, difference_p, difference_excludes_zero
from causal_summary
where {scope.of_collection} and {chosen.where} and intervention <> 'none'
    and (target_layer, source_layer) in ({wanted})
order by target_layer, source_layer, intervention"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, "no interventions yet, run `ato run causal`")
    first = [
        r for r in rows if (r["target_layer"], r["source_layer"]) == (rows[0]["target_layer"], rows[0]["source_layer"])
    ]
    seen = "; ".join(f"{r['intervention'].replace('_', ' ')} {with_interval(r, 'delta_log_ppl', 3)}" for r in first)
    averaged = chosen.position_set == STUDY
    where = "averaged over the study's three sets of five positions" if averaged else f"positions {chosen.position_set}"
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw,
        caption="Rise of the mean next-token loss over the whole sequence (nats per token, logarithmic beyond "
        f"0.01) against the unedited model on the same sequences, {where}. Bars are paired 95 % intervals by "
        "document"
        + (" (averaged over the three sets)" if averaged else "")
        + ". Titles: source → target layer and log-perplexity of the unedited model. The numbers below include the "
        "loss from the first edited position on and the KL divergence.",
        n=f"{extent(rows, 'n_sequences')} sequences of {extent(rows, 'n_documents')} documents; operator "
        f"{chosen.method}",
        alt=f"Rise of log-perplexity for {first[0]['source_layer']} to {first[0]['target_layer']}, in nats: {seen}.",
    )


def _draw(figure: "Figure", rows: Rows) -> None:
    pairs = sorted({(row["target_layer"], row["source_layer"]) for row in rows})
    found = {row["intervention"] for row in rows}
    names = [name for name in SHOWN if name in found] + sorted(found - set(SHOWN))
    height, width = grid_shape(len(pairs), 3)
    figure.set_size_inches(WIDTH, 0.5 + (0.9 + 0.22 * len(names)) * height)
    grid = figure.subplots(height, width, sharey=True, sharex=True, squeeze=False)
    for axes, (target, source) in zip(grid.flat, pairs):
        some = {r["intervention"]: r for r in rows if (r["target_layer"], r["source_layer"]) == (target, source)}
        for place, name in enumerate(names):
            row = some.get(name)
            if row is None or row["delta_log_ppl"] is None:
                continue
            value, low, high = (row[f"delta_log_ppl{end}"] for end in ("", "_low", "_high"))
            colour = INTERVENTIONS.get(name, MUTED)
            axes.plot(value, place, "o", ms=4.5, color=colour)
            axes.hlines(place, value if low is None else low, value if high is None else high, color=colour, lw=1.8)
        unedited = next(iter(some.values()))["log_ppl_none"]
        axes.set_title(f"{source} → {target}" + ("" if unedited is None else f"  (unedited {unedited:.3f})"))
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_xscale("symlog", linthresh=0.01)
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.tick_params(axis="x", labelsize=7)
    grid[0, 0].invert_yaxis()
    for i, axes in enumerate(grid.flat):
        axes.set_visible(i < len(pairs))
        if i + width >= len(pairs):
            axes.set_xlabel("rise of log-perplexity (nats)")
            axes.tick_params(labelbottom=True)


def _differences(scope: Scope) -> Panel:
    """Transport minus each rival, pair by pair, the identity first."""
    key, title = "causal-differences", "Transport against its rivals, paired"
    chosen = shown(scope)
    order = ", ".join(f"({text(name)}, {place})" for place, name in enumerate(SHOWN))
    sql = f"""select source_layer, target_layer, method, intervention as rival, position_set, n_sequences, n_documents,
    difference, difference_low, difference_high, difference_p, difference_excludes_zero,
    difference_kl, difference_kl_low, difference_kl_high
from causal_summary
inner join (values {order}) as shown(intervention, place) using (intervention)
where {scope.of_collection} and {chosen.where} and difference is not null
order by target_layer, source_layer, place"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, "transport and its rivals have not been compared yet, run `ato run causal`")
    seen = [
        f"{row['source_layer']} to {row['target_layer']} {with_interval(row, 'difference', 4)}"
        for row in rows
        if row["rival"] == rows[0]["rival"]
    ]
    told = {name: [row["difference_excludes_zero"] for row in rows if row["rival"] == name] for name in SHOWN}
    counted = "; ".join(
        f"{name.replace('_', ' ')}: {sum(map(bool, some))} of {len(some)}" for name, some in told.items() if some
    )
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_differences,
        caption="Next-token loss under transport minus that under each rival on the same sequences (nats per token, "
        "logarithmic beyond 0.01); left of 0 transport costs less. Bars are 95 % intervals by document; p in the "
        "numbers below is two-sided, by flipping the signs of whole documents. Intervals that exclude 0, of all pairs: "
        f"{counted}; about one pair in twenty would by chance.",
        n=f"{extent(rows, 'n_sequences')} sequences of {extent(rows, 'n_documents')} documents; operator "
        f"{chosen.method}",
        alt=f"Transport minus {rows[0]['rival']} in nats: {'; '.join(seen[:12])}.",
    )


def _draw_differences(figure: "Figure", rows: Rows) -> None:
    pairs = list(dict.fromkeys((row["source_layer"], row["target_layer"]) for row in rows))
    rivals = [name for name in SHOWN if name in {row["rival"] for row in rows}]
    figure.set_size_inches(WIDTH, 1.0 + 0.24 * max(len(pairs), 3))
    grid = figure.subplots(1, len(rivals), sharey=True, squeeze=False)
    for axes, rival in zip(grid[0], rivals):
        for row in (row for row in rows if row["rival"] == rival):
            place, value = pairs.index((row["source_layer"], row["target_layer"])), row["difference"]
            low, high = row["difference_low"], row["difference_high"]
            colour = COLOURS[0] if row["difference_excludes_zero"] else MUTED
            axes.plot(value, place, "o", ms=4.5, color=colour)
            axes.hlines(place, value if low is None else low, value if high is None else high, color=colour, lw=1.8)
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_xscale("symlog", linthresh=0.01)
        axes.set(title=f"minus {rival.replace('_', ' ')}", xlabel="nats per token")
        axes.tick_params(axis="x", labelsize=6.5)
    grid[0, 0].set_yticks(range(len(pairs)), [f"{source} → {target}" for source, target in pairs])
    grid[0, 0].invert_yaxis()
