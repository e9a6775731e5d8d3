"""Charts of the pages as SVG, PDF and PNG files for papers: on white, in one font, with the colours of the pages."""

import json
from decimal import Decimal
from functools import cache
from math import isfinite
from typing import Any

import streamlit as st

from dashboards.ui.charts import CATEGORIES
from dashboards.ui.drawing import specification
from warehouse.exports.about import About
from warehouse.exports.figures import FONT, font_folder, pdf_file, png_file, svg_file

WIDTH, HEIGHT = 520, 300
"""Of a chart that fills its panel on the page, in units of 1/72 inch in PDF."""
PNG_DPI = 300
FORMATS = ("svg", "pdf", "png")
INK, LINES = "#1a1c1f", "#d5d8dd"


def chart_file(chart: Any, kind: str, about: About) -> bytes:
    """A chart of Altair, or an SVG, as a file of one of ``FORMATS``; the browser and the network are not needed."""
    import vl_convert

    _register_font()
    svg = _on_paper(chart) if isinstance(chart, str) else _drawn(chart)
    if kind == "svg":
        return svg_file(svg, about)
    if kind == "pdf":
        return pdf_file(vl_convert.svg_to_pdf(svg), about)
    return png_file(vl_convert.svg_to_png(svg, ppi=PNG_DPI), about)


def _drawn(chart: Any) -> str:
    import vl_convert

    spec = specification(chart)
    spec["config"] = _merged(_config(spec), spec.get("config", {}))
    return str(vl_convert.vegalite_to_svg(_json(spec), allowed_base_urls=[]))


def _on_paper(svg: str) -> str:
    """An SVG of the pages on white, in the font of all figures."""
    head, body = svg.replace('font-family="sans-serif"', f'font-family="{FONT}"').split(">", 1)
    return f'{head}><rect width="100%" height="100%" fill="white"/>{body}'


def _json(spec: dict[str, Any]) -> str:
    """A specification as JSON, which has neither the decimals of the database nor numbers that are none."""
    data = {name: [_finite(row) for row in rows] for name, rows in spec.get("datasets", {}).items()}
    return json.dumps(spec | {"datasets": data}, default=str)


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}
    return {name: None if isinstance(v, float) and not isfinite(v) else v for name, v in numbers.items()}


@cache
def _register_font() -> None:
    import vl_convert

    vl_convert.register_font_directory(str(font_folder()))


def _config(spec: dict[str, Any]) -> dict[str, Any]:
    """What Streamlit's theme is on the page, for paper."""
    text = {"labelColor": INK, "titleColor": INK, "titleFontWeight": "normal", "labelFontSize": 10, "titleFontSize": 11}
    size = {
        "continuousWidth": WIDTH // _columns(spec),
        "discreteWidth": WIDTH // _columns(spec),
        "continuousHeight": HEIGHT,
    }
    ramp = st.get_option("theme.chartSequentialColors")
    return {
        "background": "white",
        "font": FONT,
        "view": {"stroke": None, **size},
        "axis": {**text, "gridColor": LINES, "domainColor": LINES, "tickColor": LINES, "gridWidth": 0.6},
        "legend": text,
        "header": text,
        "title": {"color": INK, "fontWeight": "normal", "fontSize": 11, "anchor": "start"},
        "mark": {"color": CATEGORIES[0]},
        "range": {"category": list(CATEGORIES)} | ({"ramp": ramp, "heatmap": ramp} if ramp else {}),
    }


def _columns(spec: dict[str, Any]) -> int:
    """How many charts stand beside each other, as far as the specification says."""
    beside = len(spec.get("hconcat", ())) or int(spec.get("columns", 0))
    encoding = spec.get("encoding", {})
    return max(beside, 1) if beside or not ({"column", "facet"} & encoding.keys() or "facet" in spec) else 3


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two configurations, the second of which decides."""
    both = {name: _merged(base[name], over[name]) for name in base.keys() & over.keys() if isinstance(base[name], dict)}
    return base | over | both
