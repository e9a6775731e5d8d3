"""Convergence of the mean Jacobians that operators are made of; nothing where none was measured."""

from itertools import groupby
from typing import TYPE_CHECKING

from tasks.report.drawing import COLOURS, MUTED
from tasks.report.numbers import extent, number
from tasks.report.panels import Panel, Rows, Scope, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 6
"""Jacobians in the figure, spread over leaps."""


def panels(scope: Scope) -> list[Panel]:
    """Standard error of each mean Jacobian against the text that it was measured on."""
    sql = f"""select source_layer, target_layer, leap, positions, part, n_tokens, n_documents, relative_error, change, converged, probes,
    identity_cosine, tolerance, jacobian
from jacobian_curves
where {scope.of_collection}
order by leap, source_layer, positions, jacobian, part"""
    rows = scope.ask(sql)
    if not rows:
        return []
    ends = [some[-1] for some in _by_jacobian(rows)]
    told = " ".join(
        f"{r['source_layer']} → {r['target_layer']}: relative error {number(r['relative_error'], 3)} after {r['n_tokens']:,} tokens of "
        f"{r['n_documents']:,} documents, {'within' if r['converged'] else 'not within'} the tolerance; cosine with the identity "
        f"{number(r['identity_cosine'])}."
        for r in ends
    )
    return [
        Panel(
            "jacobians",
            "Convergence of the Jacobians",
            sql,
            rows,
            draw=_draw,
            caption="Standard error of the mean Jacobian in the Frobenius norm, by document and row, over its norm, after each part of the "
            f"train text; it falls with the square root of the tokens. Dotted: the tolerance at which a pair stops. {told}",
            n=f"{len(ends)} Jacobians, at most {DRAWN} drawn; {extent(ends, 'n_tokens')} train tokens of {extent(ends, 'n_documents')} "
            f"documents; {extent(ends, 'probes')} rows of each token's Jacobian",
            alt=f"Relative error of the mean Jacobian by tokens. {told}",
        )
    ]


def _by_jacobian(rows: Rows) -> list[Rows]:
    return [list(some) for _, some in groupby(rows, key=lambda r: r["jacobian"])]


def _draw(figure: "Figure", rows: Rows) -> None:
    axes = figure.subplots()
    found = _by_jacobian(rows)
    for place, colour in zip(spread(range(len(found)), DRAWN), COLOURS):
        some = found[place]
        first, known = some[0], [r for r in some if r["relative_error"] is not None]
        label = f"{first['source_layer']} → {first['target_layer']}, {first['positions']}"
        axes.plot(
            [r["n_tokens"] for r in known],
            [r["relative_error"] for r in known],
            "o-",
            ms=3.5,
            color=colour,
            label=label,
        )
    for tolerance in sorted({r["tolerance"] for r in rows if r["tolerance"] is not None}):
        axes.axhline(tolerance, ls=":", color=MUTED)
    axes.set(xlabel="train tokens", ylabel="relative error")
    axes.set_ylim(bottom=0)
    axes.legend(title="pair, positions", fontsize=7.5, loc="center left", bbox_to_anchor=(1, 0.5))
