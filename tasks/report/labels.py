"""What features mean: how far descriptions tell when they fire, beside controls and neurons; the effect covered; ten labels."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from html import escape
from itertools import cycle, groupby
from typing import TYPE_CHECKING, Any

from ato.autointerp.questions import SCORERS
from ato.evaluation.colours import DESCRIBED
from ato.features.excerpts import TIERS
from tasks.report.drawing import COLOURS, INK, MUTED, grid_shape, interval_bars
from tasks.report.numbers import extent, number, with_interval
from tasks.report.overview import html_table
from tasks.report.panels import Panel, Rows, Scope, absent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMAND = "run `ato run label`"
N_LABELS = 10
TIERS_TOLD = ("all", *TIERS)
STYLES = {
    "sae": (DESCRIBED["sae"], "o", "features"),
    "transcoder": (DESCRIBED["transcoder"], "o", "transcoder features"),
    "adapter": (DESCRIBED["adapter"], "^", "adapter features"),
    "neurons": (DESCRIBED["neurons"], "s", "neurons"),
    "shuffled": (MUTED, "D", "another's description"),
}
"""What is scored -> colour, mark and name; ``shuffled`` is the control of features."""


def panels(scope: Scope) -> list[Panel]:
    """Findings, scores by tier, the effect that is covered, ten labels; nothing where nothing was labelled."""
    if not scope.ask(f"select collection from labelled_features where {scope.of_collection} limit 1"):
        return []
    return [_findings(scope), _tiers(scope), *_coverage(scope), _labels(scope)]


def _findings(scope: Scope) -> Panel:
    key, title = "label-findings", "Labels: do descriptions predict when features fire?"
    sql = f"""with scores as (
    select * from label_scores where {scope.of_collection} and tier = 'all'
),

verdicts as (
    select labelling, count(*) filter (failed) as n_failed, count(*) filter (failed is null) as n_unknown
    from feature_labelled where {scope.of_collection} group by labelling
)

select s.layer, s.sae, s.source, s.judge, s.scorer, s.measure, s.chance, s.n_features, s.n_scored, s.n_at_chance, s.usual_reason,
    s.mean_score as score, s.mean_low as score_low, s.mean_high as score_high,
    c.mean_score as shuffled, c.mean_low as shuffled_low, c.mean_high as shuffled_high,
    n.mean_score as neurons, n.mean_low as neurons_low, n.mean_high as neurons_high, n.n_scored as n_neurons,
    v.n_failed, v.n_unknown, s.n_positive, s.n_negative
from scores as s
left join scores as c
    on c.labelling = s.labelling and c.scorer = s.scorer and c.control = 'shuffled'
left join scores as n
    on n.layer = s.layer and n.judge = s.judge and n.scorer = s.scorer and n.source = 'neurons' and n.control = 'none'
left join verdicts as v on v.labelling = s.labelling
where s.source <> 'neurons' and s.control = 'none'
order by s.layer, s.sae, s.judge, list_position({list(SCORERS)}, s.scorer)"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no description was tested, {COMMAND}")
    caption = (
        "Mean over features with the 95 % interval of the spread between features. Detection and fuzzing: balanced accuracy of the judge "
        "on documents that no description was made from, with inactive texts of all tiers. The control is the same test with another "
        "feature's description; neurons are MLP neurons of the same layer. Intervals that overlap are not called a difference. A label "
        "fails unless its own interval of detection lies above chance, or there is no description."
    )
    n = f"{extent(rows, 'n_scored')} features of an SAE and test"
    body = "<ul>" + "".join(f"<li>{escape(_sentence(row))}</li>" for row in rows) + "</ul>"
    return replace(Panel(key, title, sql, rows, caption, n, f"{title}, in sentences."), body=body)


def _sentence(r: dict[str, Any]) -> str:
    """One test of one judge on the features of one SAE."""
    where = f"Layer {r['layer']}, {r['sae']}, judge {r['judge']}: {r['scorer']}"
    if r["score"] is None:
        return f"{where} could not be scored ({r['usual_reason'] or 'no answers'})."
    n_trials = r["n_positive"] + r["n_negative"]
    said = (
        f"{where} {with_interval(r, 'score')} over {r['n_scored']} of {r['n_features']} features and {n_trials:,} trials (chance "
        f"{number(r['chance'])})"
    )
    parts = [said, *_beside(r)]
    failed = ""
    if r["scorer"] == "detection" and r["n_failed"] is not None:
        unknown = f", of {r['n_unknown']} nothing is known" if r["n_unknown"] else ""
        failed = f" {r['n_failed']} of {r['n_features']} labels fail{unknown}."
    return f"{'; '.join(parts)}.{failed}{_given_away(r)}"


def _beside(r: dict[str, Any]) -> Iterator[str]:
    """The score beside control and neurons."""
    for name, words in (("shuffled", "another feature's description"), ("neurons", f"{r['n_neurons']} neurons")):
        if r[name] is None:
            continue
        yield f"{_against(r, name)} {words}, {with_interval(r, name)}"


def _against(r: dict[str, Any], name: str) -> str:
    """Above, below, or within the intervals of what it is compared with."""
    low, high, other_low, other_high = r["score_low"], r["score_high"], r[f"{name}_low"], r[f"{name}_high"]
    if None in (low, high, other_low, other_high):
        return "one feature cannot say whether more than"
    return "above" if low > other_high else "below" if high < other_low else "not told apart from"


def _given_away(r: dict[str, Any]) -> str:
    """A caution where the control is better than chance."""
    if r["shuffled_low"] is None or r["shuffled_low"] <= r["chance"]:
        return ""
    return " The control is above chance: something other than the description gives the answers away."


def _tiers(scope: Scope) -> Panel:
    key, title = "label-tiers", "Labels: scores by tier, beside controls"
    sql = f"""select layer, judge, scorer, tier, source, control, mean_score, mean_low, mean_high, chance, n_scored, n_features, sae
from label_scores
where {scope.of_collection} and mean_score is not null
order by layer, judge, list_position({list(SCORERS)}, scorer), list_position({list(TIERS_TOLD)}, tier), source, control, sae"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no description could be scored, {COMMAND}")
    own = [r for r in rows if r["source"] != "neurons" and r["control"] == "none" and r["scorer"] == "detection"]
    told = "; ".join(
        f"layer {r['layer']}, {r['judge']}, {r['tier'].replace('_', ' ')}: {r['mean_score']:.2f}" for r in own
    )
    return Panel(
        key,
        title,
        sql,
        rows,
        draw=_draw_tiers,
        caption="Mean score over features with the 95 % interval of the spread between them, by test and by the "
        "source of the inactive texts: "
        "any text (random), text like that the feature fires on (same stratum), and where its neighbours fire (near miss). Dashes are "
        "chance. Another's description is the control.",
        n=f"{extent(rows, 'n_scored')} features a point",
        alt=f"Mean scores of labels by test and tier, beside controls and neurons. Detection: {told}.",
    )


def _draw_tiers(figure: "Figure", rows: Rows) -> None:
    groups = [(place, list(some)) for place, some in groupby(rows, key=lambda r: (r["layer"], r["judge"]))]
    height, width = grid_shape(len(groups), 2)
    figure.set_size_inches(figure.get_figwidth(), 1.0 + 2.8 * height)
    grid = figure.subplots(height, width, squeeze=False, sharey=True)
    for axes, (place, some) in zip(grid.flat, groups):
        _draw_group(axes, f"layer {place[0]}, judge {place[1]}", some)
    for axes in grid.flat[len(groups) :]:
        axes.set_visible(False)
    marks = [_mark(*STYLES[name]) for name in STYLES if any(_what(r) == name for r in rows)]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(STYLES))


def _draw_group(axes: Any, title: str, rows: Rows) -> None:
    tests = list(dict.fromkeys((r["scorer"], r["tier"]) for r in rows))
    shown = [name for name in STYLES if any(_what(r) == name for r in rows)]
    for place, name in enumerate(shown):
        own = [r for r in rows if _what(r) == name]
        x = [tests.index((r["scorer"], r["tier"])) + 0.16 * (place - (len(shown) - 1) / 2) for r in own]
        named = [
            {f"score{end}": r[f"mean_{part}"] for end, part in (("", "score"), ("_low", "low"), ("_high", "high"))}
            for r in own
        ]
        colour, marker, _ = STYLES[name]
        interval_bars(axes, x, named, "score", colour, fmt=marker, ms=4.5)
    chance = {(r["scorer"], r["tier"]): r["chance"] for r in rows}
    for place, test in enumerate(tests):
        axes.hlines(chance[test], place - 0.4, place + 0.4, color=INK, lw=0.8, ls="--")
    labels = [scorer if tier == "all" else f"... {tier.replace('_', ' ')}" for scorer, tier in tests]
    axes.set_xticks(range(len(tests)), labels, rotation=30, ha="right")
    axes.set(title=title, ylabel="mean score", ylim=(0, 1.02))


def _what(r: dict[str, Any]) -> str | None:
    """Key of ``STYLES``; None of the control of neurons, which is not drawn."""
    if r["control"] == "none":
        return r["source"]
    return None if r["source"] == "neurons" else "shuffled"


def _mark(colour: str, marker: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker, ls="", color=colour, label=label)


def _coverage(scope: Scope) -> list[Panel]:
    """The curve of the latest labelling of each SAE; nothing where the order is by no effect."""
    key, title = "label-coverage", "Labels: how much of the effect the first ones cover"
    sql = f"""with latest as (
    select collection, sae, max_by(evidence, made_at) as evidence from latest_labellings
    where {scope.of_collection} and is_latest group by collection, sae
)

select layer, sae, ordered_by, place, covered, random, random_low, random_high, n_features, n_active_features
from label_coverage
semi join latest using (collection, sae, evidence)
where {scope.of_collection}
order by layer, sae, place"""
    rows = scope.ask(sql)
    if not rows:
        return []
    last = [list(some)[-1] for _, some in groupby(rows, key=lambda r: r["sae"])]
    told = "; ".join(
        f"layer {r['layer']}, {r['place']} of {r['n_features'] or 'unknown'} measured features: {r['covered']:.2f} of the "
        f"{r['ordered_by'].replace('_', ' ')}, {number(r['random'])} in random order"
        for r in last
    )
    caption = (
        "Share of the sum of the sizes of all measured effects of an SAE's features that the first labels cover. Dashes and band: as many "
        "of these features in random order, expected and in 95 % of such orders. Nothing is known of features whose effect was not "
        f"measured. The order is by the effects that are summed, so noise in them favours it. {told}."
    )
    n = f"{extent(last, 'place')} labels of an SAE"
    alt = f"Curves of the effect covered by the first labels, beside a random order: {told}."
    return [Panel(key, title, sql, rows, draw=_draw_coverage, caption=caption, n=n, alt=alt)]


def _draw_coverage(figure: "Figure", rows: Rows) -> None:
    figure.set_size_inches(figure.get_figwidth(), 3.2 + 0.2 * len({r["sae"] for r in rows}))
    axes = figure.subplots()
    for colour, (_, some) in zip(cycle(COLOURS), groupby(rows, key=lambda r: r["sae"])):
        own = list(some)
        x = [r["place"] for r in own]
        axes.plot(x, [r["covered"] for r in own], color=colour, label=f"layer {own[0]['layer']}, {own[0]['sae']}")
        if own[0]["random"] is not None:
            axes.plot(x, [r["random"] for r in own], color=colour, lw=0.8, ls="--")
            axes.fill_between(
                x, [r["random_low"] for r in own], [r["random_high"] for r in own], color=colour, alpha=0.15, lw=0
            )
    axes.set(xlabel="labels, in their order", ylabel="share of the effect", ylim=(0, 1.02))
    figure.legend(loc="outside lower center")


def _labels(scope: Scope) -> Panel:
    key, title = "label-table", f"Labels: the first {N_LABELS}"
    sql = f"""with main as (
    select judge from feature_labelled
    where {scope.of_collection} and source <> 'neurons'
    group by judge order by count(detection) desc, count(description) desc, judge limit 1
)

select place, layer, feature_id, description, detection, detection_low, detection_high, detection_near_miss, detection_shuffled, fuzzing,
    fuzzing_low, fuzzing_high, intruder, intruder_low, intruder_high, failed, reason, promoted[:3] as promoted, ordered_by, judge, sae
from feature_labelled
semi join main using (judge)
where {scope.of_collection} and source <> 'neurons'
order by place, layer, sae
limit {N_LABELS}"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no descriptions yet, {COMMAND}")
    columns = (
        "place",
        "feature",
        "description",
        "detection",
        "near miss",
        "shuffled",
        "fuzzing",
        "intruder",
        "verdict",
        "promotes",
    )
    caption = (
        f"The first labels by {rows[0]['ordered_by'].replace('_', ' ')}, not the best, of judge {rows[0]['judge']}. Detection and fuzzing: "
        "balanced accuracy with its 95 % interval over trials, 0.5 is chance; shuffled: with another feature's description. A dash: not "
        "measured."
    )
    body = html_table(columns, [_line(r) for r in rows])
    return Panel(key, title, sql, rows, caption, f"{len(rows)} features", f"{title}, as a table.", body=body)


def _line(r: dict[str, Any]) -> list[str]:
    scored = partial(with_interval, r)
    verdict = {True: "fails", False: "holds", None: "not known"}[r["failed"]]
    return [
        str(r["place"]),
        f"L{r['layer']}/{r['feature_id']}",
        r["description"] or f"none: {r['reason']}",
        scored("detection"),
        number(r["detection_near_miss"]),
        number(r["detection_shuffled"]),
        scored("fuzzing"),
        scored("intruder"),
        verdict,
        " ".join(token.strip() for token in r["promoted"]),
    ]
