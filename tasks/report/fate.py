"""What becomes of features: fates by pair, r2 against what an ablation changes, lives, and how often the views agree."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ato.evaluation.colours import FATES, VIEWS
from tasks.report.drawing import INK, WIDTH, grid_shape, interval_bars, png
from tasks.report.numbers import extent, number, with_interval
from tasks.report.overview import html_table
from tasks.report.panels import Panel, Rows, Scope, absent, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIVES = 6
"""Lives that are drawn."""
COMMAND = "run `ato run fate`"


def panels(scope: Scope) -> list[Panel]:
    """Nothing where no feature was followed."""
    if not scope.ask(f"select collection from feature_links where {scope.of_collection} limit 1"):
        return []
    return [_counts(scope), _caused(scope), _lives(scope), _agreement(scope)]


def _counts(scope: Scope) -> Panel:
    key, title = "fates", "Fates of features: carried, rewritten or computed"
    sql = f"""select source_layer, target_layer, fate, count(*) as n_features, count(*) filter (views_disagree) as n_disagreeing
from feature_fate
where {scope.of_collection} and r2 is not null
group by all
order by target_layer, source_layer, fate"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, "no feature is scored, run `ato run evaluate`")
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_counts,
        caption="Scored features of the target layer's SAE. Carried: the ridge operator transports it, and so does the identity; "
        "rewritten: the operator does, the identity does not; computed: the operator does not. From the 95 % intervals of r2.",
        n=f"{sum(row['n_features'] for row in rows):,} features and pairs",
        alt="; ".join(f"{r['source_layer']} to {r['target_layer']}: {r['n_features']} {r['fate']}" for r in rows[:12]),
    )


def _fates(rows: Rows) -> dict[str, str]:
    """The colours of those that there are."""
    found = {row["fate"] for row in rows}
    return {fate: colour for fate, colour in FATES.items() if fate in found}


def _draw_counts(figure: "Figure", rows: Rows) -> None:
    pairs = list(dict.fromkeys((r["source_layer"], r["target_layer"]) for r in rows))
    figure.set_size_inches(WIDTH, 1.0 + 0.28 * len(pairs))
    axes, left = figure.subplots(), [0.0] * len(pairs)
    fates = _fates(rows)
    for fate, colour in fates.items():
        found = {(r["source_layer"], r["target_layer"]): r["n_features"] for r in rows if r["fate"] == fate}
        widths = [found.get(pair, 0) for pair in pairs]
        axes.barh(range(len(pairs)), widths, left=left, color=colour, label=fate)
        left = [a + b for a, b in zip(left, widths)]
    axes.set_yticks(range(len(pairs)), [f"{source} → {target}" for source, target in pairs])
    axes.invert_yaxis()
    axes.set_xlabel("features")
    axes.legend(ncols=len(fates), loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _caused(scope: Scope) -> Panel:
    key, title = "fate-causal", "Predicted, and caused? r2 against the change that an ablation makes"
    sql = f"""select source_layer, target_layer, sae, feature_id, fate, r2, agreement, agreement_low, agreement_high,
    agreement_identity, slope, predicted, measured, measured_random, n_ablated, n_ablated_documents
from feature_fate
where {scope.of_collection} and r2 is not null and agreement is not null
order by target_layer, source_layer, feature_id"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no feature was ablated, {COMMAND}")
    low = sum(row["r2"] >= 0.7 and row["agreement"] <= 0.3 for row in rows)
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_caused,
        caption="Across: r2 under the ridge operator. Up: agreement, 1 - sum (measured - predicted)² / sum measured², of the feature's "
        "change when the direction that the operator reads it from is moved to its mean at one active token of the source "
        f"layer. Values below -1 are drawn at -1. {low} of {len(rows)} have r2 of 0.7 or more and agreement of 0.3 or less: "
        "predicted, and not carried.",
        n=f"{extent(rows, 'n_ablated')} tokens of {extent(rows, 'n_ablated_documents')} documents a feature",
        alt=f"{len(rows)} points; {low} with high r2 and low agreement.",
    )


def _draw_caused(figure: "Figure", rows: Rows) -> None:
    pairs = list(dict.fromkeys((r["source_layer"], r["target_layer"]) for r in rows))[:6]
    height, width = grid_shape(len(pairs), 3)
    figure.set_size_inches(WIDTH, 2.7 * height)
    grid = figure.subplots(height, width, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(pairs) :]:
        axes.set_visible(False)
    for axes, (source, target) in zip(grid.flat, pairs):
        own = [r for r in rows if (r["source_layer"], r["target_layer"]) == (source, target)]
        for fate, colour in _fates(rows).items():
            some = [r for r in own if r["fate"] == fate]
            axes.plot(
                *([max(r[x], -1) for r in some] for x in ("r2", "agreement")), "o", ms=3.5, color=colour, label=fate
            )
        axes.axhline(0, color=INK, lw=0.6)
        axes.set(title=f"{source} → {target}", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
    grid[0, 0].legend(fontsize=6.5)
    for axes in grid[-1]:
        axes.set_xlabel("r2 under ridge")
    for axes in grid[:, 0]:
        axes.set_ylabel("agreement")


def _lives(scope: Scope) -> Panel:
    """The ablated features of the last SAE whose views disagree most, in the order of their numbers."""
    key, title = "fate-lives", "Lives of features"
    sql = _lives_sql(
        scope,
        f"""select sae, feature_id
    from feature_fate
    where {scope.of_collection} and agreement is not null and source_sae is not null
    group by sae, feature_id, target_layer
    order by target_layer desc, count(*) filter (views_disagree) desc, feature_id
    limit {LIVES}""",
    )
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no feature was ablated, {COMMAND}")
    first = [row for row in rows if row["feature_id"] == rows[0]["feature_id"] and row["r2"] is not None]
    seen = "; ".join(f"layer {row['layer']} r2 {with_interval(row, 'r2')}" for row in first)
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_lives,
        caption="Ablated features of the last SAE whose views disagree most. Before a feature's own layer: r2 under ridge and causal "
        "agreement with 95 % intervals by document, r2 of the identity and, where there is one, of the Jacobian, and the cosine "
        "of the nearest decoder row. In later layers decoder rows only. Values below -1 are drawn at -1.",
        n=f"{len({(row['sae'], row['feature_id']) for row in rows})} features",
        alt=f"Feature {rows[0]['feature_id']}: {seen}.",
    )


def lives_picture(scope: Scope, features: Sequence[tuple[str, int]]) -> bytes:
    """The lives of chosen features (SAE, number), in order of SAE and number, as a PNG file on white."""
    listed = ", ".join(f"({text(sae)}, {feature})" for sae, feature in features)
    rows = scope.ask(_lives_sql(scope, f"select * from (values {listed}) as named (sae, feature_id)"))
    return png("fate-lives", _draw_lives, rows)


def _lives_sql(scope: Scope, chosen: str) -> str:
    return f"""with chosen as (
    {chosen}
),

jacobians as (
    select sae, feature_id, source_layer as layer, r2_jacobian
    from feature_fate
    where {scope.of_collection}
)

select l.sae, l.feature_id, l.home_layer, l.layer, l.fate, l.r2, l.r2_low, l.r2_high, l.r2_identity, j.r2_jacobian,
    l.decoder_cosine, l.decoder_cosine_chance, l.transport_cosine, l.agreement, l.agreement_low, l.agreement_high,
    l.born_at, l.birth_seen, l.lives_until
from feature_life as l
semi join chosen as c on c.sae = l.sae and c.feature_id = l.feature_id
left join jacobians as j on j.sae = l.sae and j.feature_id = l.feature_id and j.layer = l.layer
where {scope.of_collection}
order by l.sae, l.feature_id, l.layer"""


def _draw_lives(figure: "Figure", rows: Rows) -> None:
    lives: dict[tuple[str, int], Rows] = {}
    for row in rows:
        lives.setdefault((row["sae"], row["feature_id"]), []).append(row)
    height, width = grid_shape(len(lives), 3)
    figure.set_size_inches(WIDTH, 2.6 * height)
    grid = figure.subplots(height, width, sharey=True, squeeze=False)
    for axes in grid.flat[len(lives) :]:
        axes.set_visible(False)
    for axes, ((_, feature), life) in zip(grid.flat, lives.items()):
        draw_life(axes, life)
        axes.set_title(f"feature {feature} of layer {life[0]['home_layer']}")
    views = grid[0, 0].get_legend_handles_labels()
    figure.legend(*views, fontsize=6.5, ncols=len(views[1]), loc="outside lower center")


def draw_life(axes: Any, life: Rows) -> None:
    """One feature's views by layer."""
    clipped = [{name: max(x, -1.0) if isinstance(x, float) else x for name, x in row.items()} for row in life]
    for name, label, colour in (
        ("r2", "r2, ridge", VIEWS["r2"]),
        ("agreement", "causal agreement", VIEWS["agreement"]),
    ):
        own = [row for row in clipped if row[name] is not None]
        interval_bars(axes, [row["layer"] for row in own], own, name, colour, fmt="o-", ms=3.5, label=label)
    for name, label, colour in (
        ("r2_identity", "r2, identity", VIEWS["r2_identity"]),
        ("r2_jacobian", "r2, Jacobian", VIEWS["r2_jacobian"]),
        ("decoder_cosine", "decoder cosine", VIEWS["decoder_cosine"]),
    ):
        if own := [row for row in clipped if row[name] is not None]:
            axes.plot(
                [row["layer"] for row in own], [row[name] for row in own], "s--", ms=3, lw=1, color=colour, label=label
            )
    axes.axvline(life[0]["home_layer"], color=INK, lw=0.8, ls=":")
    axes.set(ylim=(-1.05, 1.05), xlabel="layer", xticks=[row["layer"] for row in life])


def _agreement(scope: Scope) -> Panel:
    key, title = "fate-agreement", "How often the views of a feature's fate agree"
    sql = f"""select view, against, n, n_features, both_transported, first_only, second_only, neither, agreed, by_chance,
    kappa, kappa_low, kappa_high
from fate_agreement
where {scope.of_collection} and target_layer is null"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, "no two views have decided on a feature, " + COMMAND)
    lines = [
        [
            f"{r['view']} / {r['against']}",
            f"{r['n']:,}",
            f"{r['n_features']:,}",
            number(r["agreed"], 2),
            with_interval(r, "kappa"),
        ]
        for r in rows
    ]
    body = html_table(["views", "decided by both", "features", "agree", "Cohen's kappa"], lines)
    return Panel(
        key,
        title,
        sql,
        rows,
        body=body,
        caption="Features and pairs of layers on which both views have decided. Kappa is 0 by chance and 1 where the two always agree; "
        "its limits (95 %) count distinct features.",
        n=f"{extent(rows, 'n')} decisions",
        alt=escape(title),
    )
