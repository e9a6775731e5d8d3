/* Nodes, layers and tokens as SVG: what can be hovered, clicked and reached with the keyboard. */

const SVG = "http://www.w3.org/2000/svg";
const GROUP_COLOURS = ["#CC79A7", "#009E73", "#D55E00", "#56B4E9", "#E69F00", "#0072B2"];
const SHAPES = {
  feature: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  error: (r) => `M0,${-1.2 * r}L${1.2 * r},0L0,${1.2 * r}L${-1.2 * r},0Z`,
  transport_error: (r) => `M0,${-1.2 * r}L${1.1 * r},${0.9 * r}L${-1.1 * r},${0.9 * r}Z`,
  token: (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  constant: (r) => `M${-r},0H${r}M0,${-r}V${r}`,
  logit: (r) => `M${-1.3 * r},${-r}H${1.3 * r}V${r}H${-1.3 * r}Z`,
};

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* All that is SVG, and its nodes by number. */
function drawNodes(graph, layout, isShown, palette) {
  const { nodes } = graph;
  const picture = svg("svg", {
    width: layout.width,
    height: layout.height,
    viewBox: `0 0 ${layout.width} ${layout.height}`,
    role: "group",
    "aria-label": `Nodes of the graph of ${graph.title}`,
    "font-family": palette.font,
    "font-size": 12,
    fill: palette.ink,
  });
  const names = svg("g", { class: "names", stroke: palette.paper, "stroke-width": 4, "paint-order": "stroke", "pointer-events": "none" });
  for (const band of layout.bands) {
    const y = band.middle;
    picture.append(
      svg("line", { x1: SIZE.left - 8, x2: layout.width, y1: y, y2: y, stroke: palette.ink, "stroke-opacity": 0.1 }),
    );
    names.append(svg("text", { x: 4, y: y + 4 }, bandName(graph, band.layer)));
  }
  layout.columns.forEach((column, position) => {
    const attributes = layout.isSlanted
      ? { transform: `translate(${column.middle + 4},${layout.height - SIZE.slanted + 24})rotate(-50)`, "text-anchor": "end" }
      : { x: column.middle, y: layout.height - 14, "text-anchor": "middle" };
    const label = svg("text", attributes, shortened(textOf(graph.tokens[position]), 14));
    label.append(svg("title", {}, `${graph.tokens[position]} (position ${position})`));
    picture.append(label);
  });
  const elements = new Map();
  for (let i = 0; i < graph.n; i++) {
    if (!isShown[i]) continue;
    const element = svg("g", {
      class: `node ${nodes.kind[i]}`,
      transform: `translate(${layout.x[i].toFixed(1)},${layout.y[i].toFixed(1)})`,
      role: "button",
      tabindex: -1,
      "data-node": i,
      "data-id": nodes.node_id[i],
      "aria-label": nodes.label[i] ? `${titleOf(graph, i)}, ${nodes.label[i]}` : titleOf(graph, i),
    });
    const share = nodes.transport_share[i];
    element.append(
      svg("circle", { r: layout.pitch / 2, fill: "transparent", class: "target" }),
      svg("path", {
        class: "shape",
        d: SHAPES[nodes.kind[i]](layout.radius),
        fill: share === null ? (nodes.kind[i] === "feature" ? palette.paper : palette.ink) : colourOf(palette, share),
        stroke: palette.ink,
        "stroke-width": nodes.kind[i] === "constant" ? 2 : 1,
        "fill-opacity": nodes.kind[i] === "feature" ? 1 : 0.45,
      }),
    );
    if (nodes.kind[i] === "logit") {
      const text = `${textOf(nodes.token[i])}${isOneToken(graph, i) ? ` ${shareText(nodes.activation[i])}` : ""}`;
      const ink = { stroke: palette.paper, "stroke-width": 3, "paint-order": "stroke", "font-weight": 600 };
      element.append(svg("text", { ...beside(layout, i), ...ink, "font-size": Math.min(12, layout.pitch) }, text));
    }
    elements.set(i, element);
    picture.append(element);
  }
  picture.append(names);
  return { picture, elements };
}

/* A text on that side of a node which has more room. */
function beside(layout, i) {
  const isLeft = layout.x[i] > layout.width / 2;
  return { x: (isLeft ? -1 : 1) * (1.3 * layout.radius + 5), y: 4, "text-anchor": isLeft ? "end" : "start" };
}

/* A text above a node, which stays inside the picture. */
function anchored(layout, i, text) {
  const half = 3.8 * Math.min(text.length, 22);
  const over = Math.min(0, layout.width - layout.x[i] - half);
  return { x: Math.max(over, half - layout.x[i]), "text-anchor": "middle" };
}

/* Rings and names of what is pinned or grouped. */
function markNodes(graph, layout, elements, view, palette) {
  const pinned = new Set(view.pinned);
  const groups = new Map();
  view.supernodes.forEach(([label, ...members], g) => members.forEach((id, place) => groups.set(id, { label, g, place })));
  for (const [i, element] of elements) {
    const id = graph.nodes.node_id[i];
    const group = groups.get(id);
    const isPinned = pinned.has(id);
    element.querySelectorAll(".mark").forEach((mark) => mark.remove());
    element.setAttribute("aria-pressed", isPinned);
    element.classList.toggle("pinned", isPinned);
    element.classList.toggle("clicked", id === view.clicked);
    if (!isPinned && !group) continue;
    const colour = group ? GROUP_COLOURS[group.g % GROUP_COLOURS.length] : palette.accent;
    element.append(
      svg("circle", { class: "mark", r: layout.radius + 3, fill: "none", stroke: colour, "stroke-width": 2.5 }),
    );
    const text = group ? (group.place === 0 ? group.label : "") : nameOf(graph, i);
    if (!text || graph.nodes.kind[i] === "logit") continue;
    element.append(
      svg(
        "text",
        {
          class: "mark",
          ...anchored(layout, i, text),
          y: -layout.radius - 6,
          "font-weight": 600,
          stroke: palette.paper,
          "stroke-width": 3,
          "paint-order": "stroke",
        },
        shortened(text, 22),
      ),
    );
  }
}

/* The nearest node in a direction: beside it in its layer, or in the next layer up or down that has one. */
function neighbourOf(layout, elements, from, key) {
  const dx = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0;
  const dy = { ArrowUp: -1, ArrowDown: 1 }[key] ?? 0;
  let best = null;
  let least = Infinity;
  for (const i of elements.keys()) {
    const along = (layout.x[i] - layout.x[from]) * dx + (layout.y[i] - layout.y[from]) * dy;
    const aside = Math.abs((layout.x[i] - layout.x[from]) * dy) + Math.abs((layout.y[i] - layout.y[from]) * dx);
    const distance = dx ? along + 4 * aside : 4 * along + aside;
    if (i !== from && along > 0.5 && distance < least) [best, least] = [i, distance];
  }
  return best;
}
