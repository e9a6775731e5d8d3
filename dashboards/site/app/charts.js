/* Charts by Vega-Lite, in the colours of the reader's system. They draw what a statement returned and compute nothing. */

import { embedChart } from "../libraries/libraries.js";
import { make } from "./elements.js";
import { target } from "./tables.js";

const ERRORS = 1; // of Vega's levels
const AXIS = 60; // pixels that the vertical axis may take of a chart
const dark = matchMedia("(prefers-color-scheme: dark)");

export function followTheSystem(draw) {
  dark.addEventListener("change", draw);
}

export function chartOf({ rows }, { chart, alt, link, collection, pages, said }) {
  const place = make("div", { class: link ? "chart leads" : "chart", role: "img", "aria-label": alt });
  const draw = async () => {
    const spec = { ...fitted(presentOnly(chart, rows), place.clientWidth, said), data: { name: "rows", values: rows }, background: "transparent" };
    const { view } = await embedChart(place, spec, { actions: false, ast: true, renderer: "svg", logLevel: ERRORS, config: colours(), tooltip: { theme: dark.matches ? "dark" : "light" } });
    view.addEventListener("click", (_, item) => {
      const address = item?.datum ? target(link, item.datum, { collection, pages }) : null;
      if (address) location.hash = address;
    });
  };
  return { place, draw };
}

/* The legend names what the rows have; names without a colour of their own take what is left of the range in turn. */
function presentOnly(part, rows) {
  if (Array.isArray(part)) return part.map((item) => presentOnly(item, rows));
  if (part === null || typeof part !== "object") return part;
  const kept = Object.fromEntries(Object.entries(part).map(([name, item]) => [name, presentOnly(item, rows)]));
  const { field, type, scale } = kept;
  if (type !== "nominal" || !scale?.domain || !scale.range || !(field in rows[0])) return kept;
  const there = new Set(rows.map((row) => row[field]).filter((value) => value !== null));
  const fixed = scale.domain.map((value, i) => [value, scale.range[i]]).filter(([value]) => there.has(value));
  const left = scale.range.length > scale.domain.length ? scale.range.slice(scale.domain.length) : scale.range;
  const others = [...there].filter((value) => !scale.domain.includes(value)).sort().map((value, i) => [value, left[i % left.length]]);
  const named = [...fixed, ...others];
  return { ...kept, scale: { ...scale, domain: named.map(([value]) => value), range: named.map(([, colour]) => colour) } };
}

/* Legends with as many columns of their `name_width` as there is room for, and titles that name a choice, `$measure`, with what was chosen. */
function fitted(part, width, said) {
  if (Array.isArray(part)) return part.map((item) => fitted(item, width, said));
  if (part === null || typeof part !== "object") return part;
  if (part.name_width) return Math.max(1, Math.floor((width - AXIS) / part.name_width));
  return Object.fromEntries(
    Object.entries(part).map(([name, item]) => [name, name === "title" && item?.[0] === "$" ? said[item.slice(1)] : fitted(item, width, said)]),
  );
}

/* What the theme of all charts, which each brings, leaves to the page. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const [ink, line, muted] = ["--ink", "--line", "--muted"].map((name) => style.getPropertyValue(name).trim());
  const words = { labelColor: ink, titleColor: ink, titleFontWeight: "normal", labelFontSize: 11 };
  return {
    axis: { ...words, gridColor: line, domainColor: muted, tickColor: muted, gridOpacity: 0.6 },
    legend: { ...words, labelLimit: 260 },
    text: { color: ink },
    view: { stroke: null },
    font: "system-ui, sans-serif",
  };
}
