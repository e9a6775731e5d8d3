"""Figures of the operators: r2 against training data, spectra, composition."""

from typing import TYPE_CHECKING, Any

from tasks.report.drawing import COLOURS, MUTED, WIDTH, interval_bars
from tasks.report.numbers import extent, number, with_interval
from tasks.report.panels import Panel, Rows, Scope, absent, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRS = 6
MODES = 150
"""Modes drawn per spectrum, evenly spaced, to keep the page small for wide models."""


def panels(scope: Scope) -> list[Panel]:
    """Scaling, spectra and composition."""
    return [_scaling(scope), _spectra(scope), _composition(scope)]


def _pairs(scope: Scope, table: str) -> str:
    """Up to six pairs of a table, spread over leaps, as the right side of ``in``."""
    found = scope.ask(f"select distinct leap, source_layer, target_layer from {table} where {scope.where}")
    some = spread([(pair["leap"], pair["source_layer"], pair["target_layer"]) for pair in found], PAIRS)
    return ", ".join(f"({source}, {target})" for _, source, target in some) or "(null, null)"


def _by_pair(rows: Rows) -> list[tuple[str, str, Rows]]:
    """Name, colour and rows of each pair, shortest leap first."""
    pairs = sorted({(row["leap"], row["source_layer"], row["target_layer"]) for row in rows})
    return [
        (
            f"{source} → {target}",
            COLOURS[i % len(COLOURS)],
            [row for row in rows if (row["source_layer"], row["target_layer"]) == (source, target)],
        )
        for i, (_, source, target) in enumerate(pairs)
    ]


def _scaling(scope: Scope) -> Panel:
    key, title = "scaling", "r2 against share of training data"
    sql = f"""select source_layer, target_layer, leap, fraction, fraction_asked, n_train, alpha, r2, r2_low, r2_high, r2_weighted,
    r2_weighted_low, r2_weighted_high, share_of_full_r2, n_test, n_test_documents
from scaling_curves
where {scope.where} and (source_layer, target_layer) in ({_pairs(scope, "scaling_curves")})
order by leap, source_layer, fraction_asked"""
    rows = [row for row in scope.ask(sql) if row["r2"] is not None]
    if not rows:
        return absent(key, title, sql, "no operators fitted on shares of the data, set `operators.train_fractions`")
    seen = "; ".join(
        f"{name}: {number(some[0]['r2'], 3)} with {some[0]['fraction']:.0%} and {number(some[-1]['r2'], 3)} with "
        f"{some[-1]['fraction']:.0%}"
        for name, _, some in _by_pair(rows)
    )
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_scaling,
        caption="Residual r2 (mean over dimensions) on the same test documents, of operators fitted on a growing share "
        "of the train tokens (of whole documents); regularisation chosen on the same validation documents. 95 % intervals "
        "by document.",
        n=f"{extent(rows, 'n_train')} train tokens; {extent(rows, 'n_test')} test tokens of "
        f"{extent(rows, 'n_test_documents')} documents; method {scope.method}",
        alt=f"Residual r2 by share of training data. {seen}.",
    )


def _draw_scaling(figure: "Figure", rows: Rows) -> None:
    axes = figure.subplots()
    for name, colour, some in _by_pair(rows):
        interval_bars(axes, [100 * row["fraction"] for row in some], some, "r2", colour, fmt="o-", ms=3.5, label=name)
    axes.set(xlabel="share of the train tokens (%)", ylabel="residual r2 on test")
    axes.legend(title="pair", fontsize=7.5, loc="center left", bbox_to_anchor=(1, 0.5))


def _spectra(scope: Scope) -> Panel:
    key, title = "spectra", "Spectra of the operators"
    sql = f"""select s.source_layer, s.target_layer, s.leap, s.mode, v.n_modes, s.singular_value, s.eigenvalue_real,
    s.eigenvalue_imag, v.stable_rank, v.participation, v.spectral_radius, v.share_complex
from operator_spectra as s
inner join spectra_overview as v using (collection, operator)
inner join operators as o using (collection, operator)
where {scope.conditions("s")} and (s.source_layer, s.target_layer) in ({_pairs(scope, "operator_spectra")})
    and (s.mode - 1) % greatest(1, v.n_modes // {MODES}) = 0
qualify dense_rank() over (
    partition by s.source_layer, s.target_layer order by o.r2_val desc nulls last, o.operator
) = 1
order by s.leap, s.source_layer, s.mode"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, "no spectra yet, run `ato run operators`")
    seen = "; ".join(
        f"{name}: largest singular value {number(some[0]['singular_value'])}, participation "
        f"{number(some[0]['participation'], 0)} of {some[0]['n_modes']} modes"
        for name, _, some in _by_pair(rows)
    )
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_spectra,
        caption="Left: singular values of T by mode, logarithmic; 1 preserves length. Right: eigenvalues of T in the "
        "complex plane; those off the real axis rotate. Dotted: the identity. A spectrum belongs to one fitted matrix "
        "and has no sampling interval.",
        n=f"{extent(rows, 'n_modes')} modes per operator, at most {2 * MODES} drawn; method {scope.method}",
        alt=f"Spectra. {seen}.",
    )


def _draw_spectra(figure: "Figure", rows: Rows) -> None:
    import numpy as np

    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    smallest = max(row["singular_value"] for row in rows) * 1e-6
    for name, colour, some in _by_pair(rows):
        shown = [row for row in some if row["singular_value"] > smallest]
        left.plot([r["mode"] for r in shown], [r["singular_value"] for r in shown], color=colour, label=name)
        square = [row for row in some if row["eigenvalue_real"] is not None]
        right.plot(
            [r["eigenvalue_real"] for r in square], [r["eigenvalue_imag"] for r in square], ".", ms=3, color=colour
        )
    left.axhline(1, ls=":", color=MUTED)
    left.set(xlabel="mode", ylabel="singular value", yscale="log")
    handles, labels = left.get_legend_handles_labels()
    right.legend(handles, labels, title="pair", fontsize=7.5, loc="center left", bbox_to_anchor=(1.02, 0.5))
    angle = np.linspace(0, 2 * np.pi, 91)
    right.plot(np.cos(angle), np.sin(angle), ":", color=MUTED)
    right.set(xlabel="real part of the eigenvalue", ylabel="imaginary part", aspect="equal")


def _composition(scope: Scope) -> Panel:
    key, title = "composition", "Direct versus composed operators"
    sql = f"""select source_layer, middle_layer, target_layer, leap, n_test, n_test_documents, r2_direct, r2_direct_low, r2_direct_high,
    r2_composed, r2_composed_low, r2_composed_high, r2_lost, r2_lost_low, r2_lost_high, share_kept, relative_distance
from composition_overview
where {scope.where} and r2_direct is not null and r2_composed is not null
order by leap, source_layer, middle_layer
limit 24"""
    rows = scope.ask(sql)
    if not rows:
        return absent(
            key,
            title,
            sql,
            "no composed operators yet, run `ato run evaluate` (needs two operators that share a layer)",
        )
    seen = "; ".join(
        f"{r['source_layer']} to {r['target_layer']} over {r['middle_layer']}: lost {with_interval(r, 'r2_lost', 3)}"
        for r in rows[:6]
    )
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_composition,
        caption="Weighted r2 on test tokens of the operator fitted directly from source to target, and of the product "
        "of the two operators over a middle layer, with 95 % intervals by document. The gap is not linearly "
        "represented in the middle layer.",
        n=f"{len(rows)} triples of layers; {extent(rows, 'n_test')} test tokens of {extent(rows, 'n_test_documents')} "
        f"documents; method {scope.method}",
        alt=f"Direct versus composed operators. {seen}.",
    )


def _draw_composition(figure: "Figure", rows: Rows) -> None:
    figure.set_size_inches(WIDTH, 1.1 + 0.24 * max(len(rows), 3))
    axes: Any = figure.subplots()
    for name, colour, shift, label in (
        ("r2_direct", COLOURS[0], -0.13, "direct"),
        ("r2_composed", COLOURS[1], 0.13, "composed"),
    ):
        places = [i + shift for i in range(len(rows))]
        axes.plot([row[name] for row in rows], places, "o", ms=4, color=colour, label=label)
        known = [(p, row) for p, row in zip(places, rows) if row[f"{name}_low"] is not None]
        axes.hlines(
            [p for p, _ in known],
            [r[f"{name}_low"] for _, r in known],
            [r[f"{name}_high"] for _, r in known],
            color=colour,
        )
    names = [f"{row['source_layer']} → {row['middle_layer']} → {row['target_layer']}" for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set(xlabel="weighted r2 on test", ylabel="layers", ylim=(len(rows) - 0.5, -0.5))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
