"""The report as Markdown, for notes, repositories and Pandoc: figures are files beside it."""

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

from tasks.report.claims import Claim
from tasks.report.opening import Opening
from tasks.report.page import shown
from tasks.report.panels import Panel
from warehouse.catalog.finding_texts import Finding

NUMBERS = 20
"""Rows shown in one figure's table of numbers; the files beside it have all."""


def markdown(opening: Opening, parts: Mapping[str, Sequence[Panel]], folder: str) -> str:
    """The whole report in GitHub's Markdown; what it says is what the page says.

    Args:
        opening: what stands before the figures.
        parts: the figures, by the part of the report that they stand in.
        folder: that of the files of figures and tables, relative to the report.
    """
    blocks = [f"# {_plain(opening.title)}", "## Contents", _contents(parts)]
    blocks += [_findings(opening.findings), from_html(opening.head), _claims(opening.claims)]
    for panels in parts.values():
        blocks += [_section(panel, folder) for panel in panels]
    return "\n\n".join(blocks) + "\n"


def _contents(parts: Mapping[str, Sequence[Panel]]) -> str:
    lines = [f"- [{name}](#{key})" for key, name in Opening.CONTENTS.items()]
    for part, panels in parts.items():
        if panels:
            lines.append(f"- {_plain(part)}")
            lines += [
                f"  - [{_plain(panel.title)}](#{panel.key}){' (no data)' * bool(panel.absent)}" for panel in panels
            ]
    return "\n".join(lines)


def _findings(findings: Sequence[Finding]) -> str:
    lines = [f"- **{_plain(found.topic)}.** {_plain(found.text)}" for found in findings] or ["None yet."]
    return "\n\n".join([_heading("findings", "Findings"), "\n".join(lines), "In brackets: 95 % intervals."])


def _claims(claims: Sequence[Claim]) -> str:
    lines = [f"- **{_plain(claim.claim)}: {claim.answer}** {_plain(claim.evidence)}" for claim in claims]
    return "\n\n".join([_heading("claims", "Claims of the study, checked"), "\n".join(lines)])


def _heading(key: str, title: str) -> str:
    return f'<a id="{key}"></a>\n\n## {_plain(title)}'


def _section(panel: Panel, folder: str) -> str:
    blocks = [_heading(panel.key, panel.title)]
    if panel.absent:
        return "\n\n".join([*blocks, f"No data: {_plain(panel.absent)}.", _sql(panel.sql)])
    files = ["csv", "parquet", "tex"]
    if panel.draw is not None:
        blocks.append(f"![{_plain(panel.alt)}]({folder}/{panel.key}.svg)")
        files = ["svg", "pdf", "png", *files]
    elif panel.body:
        blocks.append(from_html(panel.body))
    links = ", ".join(f"[{kind}]({folder}/{panel.key}.{kind})" for kind in files)
    blocks.append(f"{_plain(panel.caption)} n: {_plain(panel.n)}. Files: {links}.".strip())
    if panel.draw is not None:
        blocks.append(_numbers(panel))
    return "\n\n".join([*blocks, _sql(panel.sql)])


def _numbers(panel: Panel) -> str:
    lines = [[shown(value) for value in row.values()] for row in panel.rows[:NUMBERS]]
    more = len(panel.rows) - len(lines)
    return _table(list(panel.rows[0]), lines) + (f"\n\nand {more:,} more rows in the files" if more > 0 else "")


def _sql(sql: str) -> str:
    fence = "`" * max([3, *(len(found) + 1 for found in re.findall("`+", sql))])
    return f"{fence}sql\n{sql}\n{fence}"


def _table(columns: Sequence[Any], lines: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any]) -> str:
        return f"| {' | '.join(_plain(str(cell)) for cell in cells)} |"

    return "\n".join([line(columns), "|" + " --- |" * len(columns), *map(line, lines)])


def _plain(text: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    escaped = re.sub(r"([\\`*_\[\]<>|~$#])", r"\\\1", text.replace("\n", "↵"))
    return re.sub(r"^(\d*)([-+.)])(?=\s|$)", r"\1\\\2", escaped)


def from_html(text: str) -> str:
    """The report's own HTML (lists, tables, definitions, paragraphs) as Markdown."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return "\n\n".join(reader.blocks)


class _Reader(HTMLParser):
    """Collects blocks of Markdown."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self._words: list[str] = []
        self._items: list[str] = []
        self._cells: list[str] = []
        self._lines: list[list[str]] = []
        self._anchor: str | None = None
        self._in_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("p", "li", "dd", "dt", "h2", "h3", "td", "th"):
            self._words = []
        self._in_code = tag == "code"
        if tag == "h2":
            self._anchor = dict(attrs).get("id")
        self._words += {"strong": ["**"], "code": ["`"]}.get(tag, [])

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self._words.append(data.replace("`", "'").replace("\n", "↵"))
        else:
            self._words.append(_plain(data) if data.strip() else data)

    def handle_endtag(self, tag: str) -> None:
        said = "".join(self._words).strip()
        self._in_code = False
        if tag in ("strong", "code"):
            self._words.append("**" if tag == "strong" else "`")
        elif tag == "p" and said:
            self.blocks.append(said)
        elif tag == "h2":
            self.blocks.append(f'<a id="{self._anchor}"></a>\n\n## {said}' if self._anchor else f"## {said}")
        elif tag == "h3":
            self.blocks.append(f"### {said}")
        elif tag == "dt":
            self._cells = [said]
        elif tag == "dd":
            self._items.append(f"- {self._cells.pop()}: {said}")
        elif tag == "li":
            self._items.append(f"- {said}")
        elif tag in ("ul", "dl") and self._items:
            self.blocks.append("\n".join(self._items))
            self._items = []
        elif tag in ("td", "th"):
            self._cells.append(said)
        elif tag == "tr":
            self._lines.append(self._cells)
            self._cells = []
        elif tag == "table":
            columns, *lines = (f"| {' | '.join(cells)} |" for cells in self._lines)
            self.blocks.append("\n".join([columns, "|" + " --- |" * len(self._lines[0]), *lines]))
            self._lines = []
