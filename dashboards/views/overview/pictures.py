"""Small pictures of findings as SVG: numbers with their intervals in rows, or shares as stacked bars.

They need no chart library in the browser, so that a dozen of them cost the first page nothing. Each mark has its number as
a title. Grey text and these colours are read on light and on dark.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from dashboards.ui.charts import CATEGORIES, VERDICTS
from warehouse.catalog.finding_texts import Finding, interval

WIDTH, LINE, END, LETTER, GAP = 420, 15, 8, 6, 8
"""Pixels: of the picture, from a row to the next, free at the right, a letter of a label, and from a label to the marks."""
LONGEST = 36
"""Letters of a label that stands beside its marks; longer ones stand above them."""
MOST_ROWS = 12
"""Rows with labels; more are drawn closer, without."""
CLOSE = 4
GREY = "#808080"
MEASURES = {
    "features_by_leap": ("mean_r2",),
    "features_over_identity": ("difference",),
    "residuals_over_identity": ("skill",),
    "replacement_cost": ("less_identity", "added_loss"),
    "direct_or_composed": ("r2_lost",),
    "sae_quality": ("fvu",),
    "sae_architectures": ("fvu_difference",),
    "innovation_saes": ("fvu_difference",),
    "entity_knowledge": ("auroc", "baseline_auroc"),
    "descriptions": ("detection", "detection_shuffled"),
    "graph_edges": ("pearson", "pearson_control"),
    "graph_transport": ("transport_share",),
    "other_models": ("mean_difference",),
}
"""Finding -> what its picture shows: each measure in a colour."""
SHARES = {
    "feature_verdicts": {
        "share_transported": VERDICTS["transported"],
        "share_undetermined": VERDICTS["undetermined"],
        "share_computed": VERDICTS["computed"],
    },
    "feature_fates": {
        "share_carried": "#0072B2",
        "share_rewritten": "#009E73",
        "share_undetermined": "#999999",
        "share_computed": "#E69F00",
    },
}
"""Finding -> its shares, from the left, with their colours."""
WORDS = {
    "mean_r2": "mean r2",
    "difference": "r2 above the identity's",
    "skill": "skill against the identity",
    "less_identity": "nats: transport less identity",
    "added_loss": "nats added by transport",
    "r2_lost": "r2 lost over the middle layer",
    "fvu": "fraction of variance unexplained",
    "fvu_difference": "difference in FVU",
    "auroc": "AUROC of the feature",
    "baseline_auroc": "best baseline",
    "detection": "balanced accuracy",
    "detection_shuffled": "other features' descriptions",
    "pearson": "correlation with ablations",
    "pearson_control": "other edges",
    "transport_share": "share of plain transport",
    "mean_difference": "r2 there less r2 here",
    "share_transported": "transported",
    "share_computed": "computed",
    "share_undetermined": "undetermined",
    "share_carried": "carried",
    "share_rewritten": "rewritten",
}
"""Measure -> its name in a legend."""
CHANCE = {"auroc": 0.5, "detection": 0.5}
"""Measure -> what a guess reaches: the dashed line, which is at 0 for the others."""


@dataclass(frozen=True)
class Picture:
    """A drawn finding."""

    svg: str
    alt: str


def picture(finding: Finding) -> Picture | None:
    """The picture of a finding; None for one that has none."""
    if finding.name in SHARES:
        return _shares(finding, SHARES[finding.name])
    if finding.name in MEASURES:
        return _intervals(finding, MEASURES[finding.name])
    return None


def label(row: Mapping[str, Any]) -> str:
    """What a row is about: a pair of layers, a layer, or its subject."""
    if row["source_layer"] is not None:
        over = f" {row['subject']}" if str(row["subject"]).startswith("over ") else ""
        return f"{row['source_layer']} → {row['target_layer']}{over}"
    where = "" if row["target_layer"] is None else f"layer {row['target_layer']}"
    return where if row["finding"] == "sae_quality" else ", ".join(filter(None, (where, row["subject"])))


def _intervals(finding: Finding, measures: Sequence[str]) -> Picture | None:
    drawn = [row for row in finding.rows if row["measure"] in measures]
    if not drawn:
        return None
    shown: dict[
        str, list[Mapping[str, Any]]
    ] = {}  # label -> its rows; the rows of one pair or subject stand on one line
    for row in drawn:
        shown.setdefault(label(row), []).append(row)
    ends = [row[name] for row in drawn for name in ("value", "low", "high") if row[name] is not None]
    origin = CHANCE.get(measures[0], 0.0)
    low, high = min(origin, *ends), max(origin, *ends)
    close = len(shown) > MOST_ROWS
    left, step = (END, CLOSE) if close else _room(shown)
    scale = (WIDTH - left - END) / ((high - low) or 1)

    def x(value: float) -> float:
        return left + (value - low) * scale

    top = LINE * len(measures)
    height = top + step * len(shown) + LINE
    marks = [_legend(left, LINE * i + 11, "●", WORDS[m], CATEGORIES[i]) for i, m in enumerate(measures)]
    rows_end = [top + step * (place + 1) for place in range(len(shown))]
    for above, below in ((end - LINE, end) for end in rows_end) if step > LINE else [(top, height - LINE)]:
        marks.append(
            f'<line x1="{x(origin):.1f}" x2="{x(origin):.1f}" y1="{above}" y2="{below}" stroke="{GREY}" stroke-dasharray="2 2"/>'
        )
    for place, (name, rows) in enumerate(shown.items()):
        y = top + step * (place + 1) - min(step, LINE) / 2
        if not close:
            marks.append(_label(left, y + 4, name))
        for row in rows:
            which = measures.index(row["measure"])
            apart = 0 if close else 5 * (which - (len(measures) - 1) / 2)
            marks.append(_mark(row, x, y + apart, CATEGORIES[which], close))
    marks.append(_text(x(low), height - 3, f"{low:.2g}", GREY))
    marks.append(_text(x(high), height - 3, f"{high:.2g}", GREY, anchor="end"))
    alt = f"{finding.topic}: {', '.join(WORDS[m] for m in measures)} of {len(shown)} rows with their 95 % intervals"
    return Picture(_svg(height, marks), alt)


def _mark(row: Mapping[str, Any], x: Any, y: float, colour: str, close: bool) -> str:
    ends = ""
    if row["low"] is not None and row["high"] is not None:
        ends = f'<line x1="{x(row["low"]):.1f}" x2="{x(row["high"]):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
    dot = f'<circle cx="{x(row["value"]):.1f}" cy="{y}" r="{1.8 if close else 3.5}" fill="{colour}"/>'
    return f"<g><title>{escape(label(row))}: {WORDS[row['measure']]} {interval(row)}</title>{ends}{dot}</g>"


def _shares(finding: Finding, colours: Mapping[str, str]) -> Picture | None:
    shown: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in finding.rows:
        if row["measure"] in colours:
            shown.setdefault(label(row), {})[row["measure"]] = row
    if not shown:
        return None
    close = len(shown) > MOST_ROWS
    left, step = (END, CLOSE) if close else _room(shown)
    width, at, marks = WIDTH - left - END, float(END), []
    for measure, colour in colours.items():
        marks.append(_legend(at, 11, "■", WORDS[measure], colour))
        at += 8.0 * len(WORDS[measure]) + 16
    for place, (name, rows) in enumerate(shown.items()):
        y, x = LINE + step * (place + 1) - min(step, LINE), float(left)
        if not close:
            marks.append(_label(left, y + 11, name))
        for measure, colour in colours.items():
            if measure in rows:
                long = width * rows[measure]["value"]
                title = f"<title>{escape(name)}: {WORDS[measure]} {interval(rows[measure], percent=True)}</title>"
                marks.append(
                    f'<rect x="{x:.1f}" y="{y + 2}" width="{long:.1f}" height="{min(step, LINE) - 3}" fill="{colour}">{title}</rect>'
                )
                x += long
    alt = f"{finding.topic}: {', '.join(WORDS[m] for m in colours)}, of {len(shown)} rows"
    return Picture(_svg(LINE + step * len(shown) + 4, marks), alt)


def _room(names: Iterable[str]) -> tuple[float, int]:
    """Where the marks begin beside these labels, and how far it is from one row to the next."""
    longest = max(map(len, names))
    return (END, 2 * LINE) if longest > LONGEST else (END + GAP + LETTER * longest, LINE)


def _label(left: float, y: float, name: str) -> str:
    """The label of marks that begin here: beside them, or above."""
    return _text(END, y - LINE, name, GREY) if left == END else _text(left - GAP, y, name, GREY, anchor="end")


def _legend(x: float, y: float, sign: str, words: str, colour: str) -> str:
    """The sign has the colour; words in it would be too faint to read on one of the two backgrounds."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{GREY}"><tspan fill="{colour}">{sign}</tspan> {escape(words)}</text>'


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, marks: Iterable[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    return f'{head} font-family="sans-serif" font-size="11">{"".join(marks)}</svg>'
