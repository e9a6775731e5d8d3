/* Charts by Vega-Lite, in the colours of the reader's system. They draw what a statement returned and compute nothing. */

import { embedChart } from "../libraries/libraries.js";
import { make } from "./elements.js";
import { target } from "./tables.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

export function followTheSystem(draw) {
  dark.addEventListener("change", draw);
}

export async function chartOf({ rows }, { chart, alt, link, collection }) {
  const place = make("div", { class: link ? "chart leads" : "chart", role: "img", "aria-label": alt });
  const draw = async () => {
    const spec = { ...chart, data: { name: "rows", values: rows }, background: "transparent" };
    const { view } = await embedChart(place, spec, { actions: false, ast: true, renderer: "svg", config: colours(), tooltip: { theme: dark.matches ? "dark" : "light" } });
    view.addEventListener("click", (_, item) => {
      const address = item?.datum ? target(link, item.datum, collection) : null;
      if (address) location.hash = address;
    });
  };
  return { place, draw };
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const [ink, line, muted] = ["--ink", "--line", "--muted"].map((name) => style.getPropertyValue(name).trim());
  const words = { labelColor: ink, titleColor: ink, titleFontWeight: "normal", labelFontSize: 11 };
  return {
    axis: { ...words, gridColor: line, domainColor: muted, tickColor: muted, gridOpacity: 0.6 },
    legend: words,
    text: { color: ink },
    view: { stroke: null },
    font: "system-ui, sans-serif",
  };
}
