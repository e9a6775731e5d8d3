/* Where nodes stand: a column a position, a row a layer, a small grid in each cell. Linear in the number of nodes. */

const SIZE = { left: 66, top: 26, bottom: 44, slanted: 84, between: 58 };
const MOST_STACKED = 12;
/* Distance of nodes, width of a token, and gap between columns: what is tried in turn until the picture fits. */
const FITS = [
  { pitch: 15, token: 34, gap: 14 },
  { pitch: 15, token: 18, gap: 8 },
  { pitch: 11, token: 14, gap: 4 },
];
const LETTER = 7;

function layOut(graph, isShown, width) {
  const { layer, position, influence } = graph.nodes;
  const layers = [...new Set(layer.filter((_, i) => isShown[i]))].sort((a, b) => b - a);
  const rowOf = new Map(layers.map((one, row) => [one, row]));
  const nTokens = graph.tokens.length;
  const cells = new Map();
  const byInfluence = [...layer.keys()].filter((i) => isShown[i]).sort((a, b) => (influence[a] ?? 0) - (influence[b] ?? 0));
  for (const i of byInfluence) {
    const key = rowOf.get(layer[i]) * nTokens + position[i];
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(i);
  }
  const deepOf = (members, stacked) => (isOfLogits(graph, members) ? members.length : Math.min(stacked, members.length));
  const { fit, stacked, counts } = fitted(cells, nTokens, width - SIZE.left, deepOf);
  const { pitch } = fit;
  const columns = [];
  let x = SIZE.left;
  const spare = width - SIZE.left - counts.reduce((sum, count) => sum + widthOf(count, fit), 0);
  for (let p = 0; p < nTokens; p++) {
    const own = widthOf(counts[p], fit) + Math.max(0, spare) / nTokens;
    columns.push({ x, width: own, middle: x + own / 2 });
    x += own;
  }
  const rows = layers.map(() => 1);
  for (const [key, members] of cells) {
    const row = Math.floor(key / nTokens);
    rows[row] = Math.max(rows[row], deepOf(members, stacked));
  }
  const bands = [];
  let y = SIZE.top;
  rows.forEach((deep, row) => {
    bands.push({ layer: layers[row], y, height: deep * pitch, middle: y + (deep * pitch) / 2 });
    y += deep * pitch + SIZE.between;
  });
  const places = { x: new Float32Array(graph.n), y: new Float32Array(graph.n) };
  for (const [key, members] of cells) {
    const band = bands[Math.floor(key / nTokens)];
    const across = Math.ceil(members.length / deepOf(members, stacked));
    const deep = Math.ceil(members.length / across);
    members.forEach((i, place) => {
      places.x[i] = columns[key % nTokens].middle + ((place % across) - (across - 1) / 2) * pitch;
      places.y[i] = band.middle + (Math.floor(place / across) - (deep - 1) / 2) * pitch;
    });
  }
  const isSlanted = columns.some((column, p) => textOf(graph.tokens[p]).length * LETTER > column.width);
  const height = y - SIZE.between + (isSlanted ? SIZE.slanted : SIZE.bottom);
  return { ...places, columns, bands, pitch, isSlanted, radius: pitch * 0.36, width: Math.max(width, x), height };
}

/* The widest fit and the least stacking that the width has room for; without any, the narrowest, which scrolls. */
function fitted(cells, nTokens, room, deepOf) {
  let last = null;
  for (const fit of FITS) {
    for (let stacked = 1; stacked <= MOST_STACKED; stacked++) {
      const counts = columnCounts(cells, nTokens, (members) => deepOf(members, stacked));
      last = { fit, stacked, counts };
      if (counts.reduce((sum, count) => sum + widthOf(count, fit), 0) <= room) return last;
    }
  }
  return last;
}

/* Logits stand one below the other, since each has its token beside it. */
function isOfLogits(graph, members) {
  return members.every((i) => graph.nodes.kind[i] === "logit");
}

function columnCounts(cells, nTokens, deepOf) {
  const counts = new Array(nTokens).fill(1);
  for (const [key, members] of cells) {
    counts[key % nTokens] = Math.max(counts[key % nTokens], Math.ceil(members.length / deepOf(members)));
  }
  return counts;
}

function widthOf(count, { pitch, token, gap }) {
  return Math.max(token, count * pitch) + gap;
}

function bandName(graph, layer) {
  if (layer < 0) return "tokens";
  return graph.nodes.kind.some((kind, i) => kind === "logit" && graph.nodes.layer[i] === layer) ? "logits" : `layer ${layer}`;
}

/* Ends and control points of an edge: upwards, or as a bow within a layer. */
function curveOf(layout, source, target) {
  const x1 = layout.x[source];
  const y1 = layout.y[source];
  const x2 = layout.x[target];
  const y2 = layout.y[target];
  const flat = Math.abs(y1 - y2) < SIZE.between / 2;
  const middle = flat ? Math.min(y1, y2) - SIZE.between / 2 : (y1 + y2) / 2;
  return [x1, y1, x1, middle, x2, middle, x2, y2];
}
