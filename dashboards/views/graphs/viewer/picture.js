/* Colours of shares, and edges on a canvas: a path for each colour, width and sign, however many edges there are. */

const COMPUTED = [230, 159, 0];
const BETWEEN = [150, 150, 150];
const CARRIED = { light: [0, 114, 178], dark: [86, 180, 233] };
const SHARE_STEPS = 6;
const WIDTHS = [0.7, 1.3, 2.2, 3.4, 5];
const NOT_COMPARED = -1;

/* Colours of the page, which follow its theme. */
function paletteOf(element) {
  const style = getComputedStyle(element);
  const probe = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
  const paper = probe("--st-background-color", "#ffffff");
  const isDark = brightness(paper) < 0.5;
  return {
    paper,
    ink: probe("--st-text-color", isDark ? "#fafafa" : "#31333f"),
    line: probe("--st-border-color", "#8888"),
    accent: probe("--st-primary-color", "#0072B2"),
    carried: CARRIED[isDark ? "dark" : "light"],
    font: probe("--st-font", "sans-serif"),
  };
}

function brightness(colour) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return (0.3 * red + 0.6 * green + 0.1 * blue) / 255;
}

/* Orange for what is computed, through grey, to blue for what is carried as it is; the page's ink if not compared. */
function colourOf(palette, share) {
  if (share === null || share === undefined) return palette.ink;
  const [from, to, part] = share < 0.5 ? [COMPUTED, BETWEEN, 2 * share] : [BETWEEN, palette.carried, 2 * share - 1];
  return `rgb(${from.map((value, i) => Math.round(value + part * (to[i] - value))).join(",")})`;
}

/* Edges of one colour, width and sign together: [{edges, share, width, negative}], thin ones first. */
function bundled(graph, edges, weights, largest) {
  const bundles = new Map();
  for (const e of edges) {
    const weight = weights[e];
    if (weight === null) continue;
    const share = graph.shades[e];
    const step = share === null ? NOT_COMPARED : Math.round(share * (SHARE_STEPS - 1));
    const size = Math.min(1, Math.sqrt(Math.abs(weight) / largest));
    const width = Math.min(WIDTHS.length - 1, Math.floor(size * WIDTHS.length));
    const key = `${width} ${step} ${weight < 0}`;
    if (!bundles.has(key)) {
      bundles.set(key, {
        edges: [],
        share: step === NOT_COMPARED ? null : step / (SHARE_STEPS - 1),
        width: WIDTHS[width],
        negative: weight < 0,
      });
    }
    bundles.get(key).edges.push(e);
  }
  return [...bundles.values()].sort((a, b) => (a.share !== null) - (b.share !== null) || a.width - b.width);
}

function opacityOf(bundle, nEdges) {
  const crowded = Math.min(1, Math.sqrt(1000 / nEdges));
  return crowded * (bundle.share === null ? 0.28 : 0.65);
}

function largestOf(weights) {
  let largest = 0;
  for (const weight of weights) largest = Math.max(largest, Math.abs(weight ?? 0));
  return largest || 1;
}

/* Draw edges; returns how many were drawn. */
function drawEdges(canvas, layout, graph, edges, weights, palette) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(layout.width * scale);
  canvas.height = Math.round(layout.height * scale);
  canvas.style.width = `${layout.width}px`;
  canvas.style.height = `${layout.height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, layout.width, layout.height);
  let drawn = 0;
  for (const bundle of bundled(graph, edges, weights, largestOf(weights))) {
    context.beginPath();
    for (const e of bundle.edges) {
      const [x1, y1, ...rest] = curveOf(layout, graph.edges.source[e], graph.edges.target[e]);
      context.moveTo(x1, y1);
      context.bezierCurveTo(...rest);
    }
    context.strokeStyle = colourOf(palette, bundle.share);
    context.lineWidth = bundle.width;
    context.globalAlpha = opacityOf(bundle, edges.length);
    context.setLineDash(bundle.negative ? [4, 3] : []);
    context.stroke();
    drawn += bundle.edges.length;
  }
  return drawn;
}
