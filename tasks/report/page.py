"""The report as one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from tasks.report.claims import Claim
from tasks.report.drawing import svg
from tasks.report.opening import Opening
from tasks.report.overview import html_table
from tasks.report.panels import Panel, text
from warehouse.catalog.finding_texts import OF_FINDING

NUMBERS = 400
"""Rows shown in one figure's table of numbers; its SQL gives all."""

UP = '<a class="up" href="#contents">Contents</a>'

STYLE = """
:root{color-scheme:light dark;--ink:#1a1c1f;--paper:#fff;--soft:#f4f5f7;--line:#d5d8dd;--muted:#5c626b;--link:#0b5cad;
--yes:#00694c;--no:#a33d00}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--paper:#14171b;--soft:#1e2227;--line:#3a4048;--muted:#a5acb6;
--link:#7cc0f5;--yes:#4fd0a6;--no:#ff9a5c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:66rem;padding:1rem;color:var(--ink);background:var(--paper);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.2rem;margin-top:2.4rem}h3{font-size:1rem;margin:.2rem 0}
a{color:var(--link)}nav>ul{columns:18rem;padding:0;list-style:none}nav>ul>li{break-inside:avoid;margin-bottom:.3rem}
nav ul ul{padding-left:1.1rem;list-style:none}.up{float:right;font-size:.85rem;font-weight:normal}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.3rem 1rem}dt{color:var(--muted)}dd{margin:0}
@media (max-width:36rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
.scroll{overflow-x:auto}.scroll svg{display:block;width:100%;min-width:36rem;height:auto;color:var(--ink)}
.scroll svg *{stroke-linejoin:round;stroke-linecap:butt}.scroll svg text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}
figure{margin:1rem 0}figcaption,.note,.absent{color:var(--muted);font-size:.9rem}
details{margin:.4rem 0;padding:.3rem .7rem;background:var(--soft);border-radius:.4rem}summary{cursor:pointer}
pre{overflow-x:auto;font-size:.8rem}code{background:var(--soft);padding:0 .25rem;border-radius:.2rem;white-space:pre-wrap}
pre code{padding:0;white-space:pre}.yes{color:var(--yes)}.no{color:var(--no)}
.feature{border:1px solid var(--line);border-radius:.5rem;padding:.6rem .9rem;margin:.8rem 0}
.window{white-space:pre-wrap;margin:.35rem 0;font-size:.92rem}.window span{border-radius:.15rem}
"""


def page(opening: Opening, parts: Mapping[str, Sequence[Panel]]) -> str:
    """The whole page: what was found comes first.

    Args:
        opening: what stands before the figures.
        parts: the figures, by the part of the report that they stand in.
    """
    panels = [panel for some in parts.values() for panel in some]
    title = escape(opening.title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{title}</h1>{_contents(parts)}</header><main>"
        f"{_findings(opening)}{opening.head}{_claims(opening.claims)}{''.join(_section(panel) for panel in panels)}"
        "</main></body></html>\n"
    )


def _contents(parts: Mapping[str, Sequence[Panel]]) -> str:
    """The table of contents; figures without data are marked."""
    lines = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name in Opening.CONTENTS.items())
    for part, panels in parts.items():
        if panels:
            links = "".join(
                f'<li><a href="#{panel.key}">{escape(panel.title)}</a>{" (no data)" * bool(panel.absent)}</li>'
                for panel in panels
            )
            lines += f"<li>{escape(part)}<ul>{links}</ul></li>"
    return f'<nav id="contents" aria-label="Contents"><h2>Contents</h2><ul>{lines}</ul></nav>'


def _findings(opening: Opening) -> str:
    lines = "".join(
        f"<li><strong>{escape(found.topic)}.</strong> {escape(found.text)}{_sql(_of_finding(opening.collection, found.name))}</li>"
        for found in opening.findings
    )
    shown = (
        f'<ul>{lines}</ul><p class="note">In brackets: 95 % intervals.</p>'
        if lines
        else '<p class="absent">None yet.</p>'
    )
    return f'<section id="findings"><h2>{UP}Findings</h2>{shown}</section>'


def _of_finding(collection: str, finding: str) -> str:
    return OF_FINDING.replace("$collection", text(collection)).replace("$finding", text(finding))


def _claims(claims: Sequence[Claim]) -> str:
    lines = "".join(
        f'<li><strong>{escape(claim.claim)}: <span class="{_css_class(claim.answer)}">{escape(claim.answer)}</span></strong> '
        f'<span class="note">{escape(claim.evidence)}</span>{_sql(claim.sql)}</li>'
        for claim in claims
    )
    return f'<section id="claims"><h2>{UP}Claims of the study, checked</h2><ul>{lines}</ul></section>'


def _css_class(answer: str) -> str:
    return answer if answer in ("yes", "no") else "note"


def _section(panel: Panel) -> str:
    top = f'<section id="{panel.key}"><h2>{UP}{escape(panel.title)}</h2>'
    if panel.absent:
        return f'{top}<p class="absent">No data: {escape(panel.absent)}.</p>{_sql(panel.sql)}</section>'
    shown = panel.body
    if panel.draw is not None:
        picture = svg(panel.key, panel.draw, panel.rows)
        shown = f'<div class="scroll" role="img" aria-label="{escape(panel.alt)}">{picture}</div>'
    caption = f"<figcaption>{escape(panel.caption)} <span class='n'>n: {escape(panel.n)}.</span></figcaption>"
    return f"{top}<figure>{shown}{caption}</figure>{_sql(panel.sql)}{_numbers(panel)}</section>"


def _sql(sql: str) -> str:
    return f'<details><summary>SQL</summary><pre><code class="sql">{escape(sql)}</code></pre></details>'


def _numbers(panel: Panel) -> str:
    """The rows behind a figure as a table."""
    lines = [[shown(value) for value in row.values()] for row in panel.rows[:NUMBERS]]
    more = len(panel.rows) - len(lines)
    note = f'<p class="note">and {more:,} more rows</p>' if more > 0 else ""
    return f"<details><summary>Numbers ({len(panel.rows):,} rows)</summary>{html_table(panel.rows[0], lines)}{note}</details>"


def shown(value: Any) -> str:
    """A value in the table of numbers."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value.isoformat() if isinstance(value, datetime) else str(value)
