"""When features of studied SAEs emerge in training."""

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from ato.sae_studies.colours import architecture_colours
from tasks.report.drawing import INK, mark
from tasks.report.numbers import extent
from tasks.report.panels import Panel, Rows, Scope, absent, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMAND = "run `ato run sae_study`"


def emergence(scope: Scope) -> Panel:
    """Share of emerged features over training, an SAE a line."""
    key, title = "sae-emergence", "SAE study: when features emerge"
    sql = f"""select c.label, c.layer, c.architecture, c.k, c.step, c.tokens, c.emerged_share, c.n_tokens, s.n_features, s.n_never_born,
    s.n_died, s.n_split, s.mean_drift, s.median_emerged_tokens, s.mean_entropy_change, s.n_entropy_change, c.sae
from emergence_curve as c
left join emergence_summary as s using (collection, sae)
where c.{scope.of_collection} and c.emerged_share is not null
order by c.layer, c.architecture, c.k, c.label, c.sae, c.step"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no SAE has snapshots of its training, {COMMAND}")
    told = [_emerged(some) for some in _by_sae(rows)]
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_emergence,
        caption="Share of features whose decoder row stays close to its final direction from here on, against the tokens of training; "
        f"a point is a snapshot, solid lines the smallest k, dashed ones the others. {' '.join(told)}",
        n=f"{extent(rows, 'n_features')} features of an SAE, followed on {extent(rows, 'n_tokens')} held-out tokens",
        alt="Share of emerged features over training. " + " ".join(told),
    )


def _by_sae(rows: Rows) -> Iterator[Rows]:
    return (list(some) for _, some in groupby(rows, key=lambda r: r["sae"]))


def _emerged(rows: Rows) -> str:
    """What became of one SAE's features."""
    r = rows[-1]
    if r["n_features"] is None:
        return f"{r['label']}: features were not followed."
    drift = "" if r["mean_drift"] is None else f"mean drift {r['mean_drift']:.2f}, "
    entropy = "" if not r["n_entropy_change"] else f", token entropy changed by {r['mean_entropy_change']:+.2f} nats"
    median = (
        "at an unknown step" if r["median_emerged_tokens"] is None else f"by {r['median_emerged_tokens']:,.0f} tokens"
    )
    return (
        f"{r['label']}, layer {r['layer']}: half of {r['n_features']:,} features emerged {median}; {drift}{r['n_split']:,} split, "
        f"{r['n_died']:,} died, {r['n_never_born']:,} never fired{entropy}."
    )


def _draw_emergence(figure: "Figure", rows: Rows) -> None:
    axes = figure.subplots()
    colours = architecture_colours(r["architecture"] for r in rows)
    smallest = min((r["k"] for r in rows if r["k"] is not None), default=None)
    for some in _by_sae(rows):
        first = some[0]
        draw = partial(axes.plot, [r["tokens"] for r in some], [r["emerged_share"] for r in some], marker="o", ms=3)
        draw(color=colours[first["architecture"]], ls="-" if first["k"] == smallest else "--")
    axes.set(xlabel="tokens", ylabel="emerged", ylim=(0, 1.02))
    tokens = sorted({r["tokens"] for r in rows if r["tokens"]})
    if tokens:  # snapshots are evenly spaced in log steps, but the first is of no step at all
        axes.set_xscale("symlog", linthresh=tokens[0])
        axes.set_xticks(ticks := spread([0, *tokens], 6), [f"{tick:,}" for tick in ticks])
        axes.set_xlim(0, 1.1 * tokens[-1])
        axes.minorticks_off()
    axes.axhline(1, color=INK, lw=0.5)
    figure.legend(handles=[mark(n, c) for n, c in colours.items()], loc="outside lower center", ncols=6)
