"""Transport in other models: mean differences in order, and what they say in sentences."""

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tasks.report.drawing import COLOURS, MUTED, interval_bars
from tasks.report.numbers import extent, with_interval
from tasks.report.panels import Panel, Rows, Scope

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def panels(scope: Scope) -> list[Panel]:
    """One figure with its findings; nothing where nothing was compared."""
    sql = f"""select place, other_model, source_layer, target_layer, sae, n_features, n_documents, n_changed, n_verdicts_changed,
    mean_difference, mean_difference_low, mean_difference_high, mean_loss, mean_loss_low, mean_loss_high, relative_distance
from latest_comparisons
where {scope.of_collection} and {scope.of_policy}
order by source_layer, target_layer, sae, place"""
    rows = scope.ask(sql)
    if not rows:
        return []
    told = [_sentence(row) for row in rows]
    return [
        Panel(
            "compare",
            "Transport in other models",
            sql,
            rows,
            "Mean over features of r2 in the other model less r2 in this one, each by its own operator, on the same test "
            "documents, with the 95 % interval by document. " + escape(" ".join(told)),
            f"{extent(rows, 'n_features')} features a point, {extent(rows, 'n_documents')} documents (or groups of them)",
            " ".join(told),
            draw=_draw,
        )
    ]


def _sentence(r: dict[str, Any]) -> str:
    changed = f"r2 of {r['n_changed']} of {r['n_features']} features changed"
    return (
        f"{r['other_model']}, layer {r['source_layer']} to {r['target_layer']}: {changed}, on average by "
        f"{with_interval(r, 'mean_difference', 3)}; this model's operator loses {with_interval(r, 'mean_loss', 3)} there."
    )


def _draw(figure: "Figure", rows: Rows) -> None:
    axes: Any = figure.subplots()
    models = list(dict.fromkeys(row["other_model"] for row in sorted(rows, key=lambda row: row["place"])))
    axes.axhline(0, color=MUTED, ls="--", lw=1)
    for place, (layers, some) in enumerate(
        groupby(rows, key=lambda r: (r["source_layer"], r["target_layer"], r["sae"]))
    ):
        own = [row for row in some if row["mean_difference"] is not None]
        x = [models.index(row["other_model"]) for row in own]
        colour = COLOURS[place % len(COLOURS)]
        interval_bars(axes, x, own, "mean_difference", colour, fmt="o-", ms=4.5, label=f"{layers[0]} to {layers[1]}")
    crowded = sum(map(len, models)) > 90
    axes.set_xticks(range(len(models)), models, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    axes.set(ylabel="mean difference of r2", xlim=(-0.5, len(models) - 0.5))
    axes.legend(title="layers")
