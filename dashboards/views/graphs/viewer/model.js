/* The graph as columns, the edges of each node, and what people call them. Edges come in the order of their influence. */

const ALWAYS_SHOWN = new Set(["token", "logit"]);
/* In a graph of operators: features are carried, what the operator misses is computed. */
const OF_OPERATORS = { feature: 1, transport_error: 0 };

function readGraph(data) {
  const { nodes, edges } = data;
  const n = nodes.node_id.length;
  const incoming = Array.from({ length: n }, () => []);
  const outgoing = Array.from({ length: n }, () => []);
  for (let e = 0; e < edges.source.length; e++) {
    incoming[edges.target[e]].push(e);
    outgoing[edges.source[e]].push(e);
  }
  const index = new Map(nodes.node_id.map((id, i) => [id, i]));
  const shades = data.kind === "transport" ? edges.source.map((i) => OF_OPERATORS[nodes.kind[i]] ?? null) : edges.share;
  return { ...data, n, incoming, outgoing, index, shades };
}

/* Whether each node is shown, and the shown edges; what was chosen by hand is never hidden. */
function shownParts(graph, view) {
  const { nodes, edges } = graph;
  const kept = new Set([...view.pinned, view.clicked, ...view.supernodes.flatMap((group) => group.slice(1))]);
  const isShown = nodes.node_id.map(
    (id, i) =>
      nodes.influence[i] === null || nodes.influence[i] <= view.nodes || ALWAYS_SHOWN.has(nodes.kind[i]) || kept.has(id),
  );
  const shown = [];
  for (let e = 0; e < edges.source.length && edges.influence[e] <= view.edges; e++) {
    if (isShown[edges.source[e]] && isShown[edges.target[e]]) shown.push(e);
  }
  return { isShown, edges: shown };
}

/* Weights by which edges are drawn; null where no operator joins the two ends. */
function weightsOf(graph, view) {
  return view.weights === "transport" && graph.kind === "attribution" ? graph.edges.transport : graph.edges.weight;
}

function textOf(token) {
  const text = token.replaceAll("\n", "↵");
  return text.trim() === "" ? text.replaceAll(" ", "·") : text.trim();
}

function nameOf(graph, i) {
  const { kind, layer, feature_id, token } = graph.nodes;
  switch (kind[i]) {
    case "feature":
      return `L${layer[i]}/${feature_id[i]}`;
    case "error":
      return `error L${layer[i]}`;
    case "transport_error":
      return `operator error L${layer[i]}`;
    case "logit":
      return `logit ${textOf(token[i])}`;
    case "token":
      return `token ${textOf(token[i])}`;
    default:
      return kind[i];
  }
}

/* Whether a node is the logit of a token, not a difference of two. */
function isOneToken(graph, i) {
  return graph.nodes.kind[i] === "logit" && graph.nodes.token_id[i] !== null;
}

function titleOf(graph, i) {
  const { kind, position, token } = graph.nodes;
  const at = ALWAYS_SHOWN.has(kind[i]) ? "" : ` at ${textOf(token[i])}`;
  return `${nameOf(graph, i)}${at} (${position[i]})`;
}

function numberText(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1000 || (value !== 0 && Math.abs(value) < 0.001) ? value.toExponential(1) : String(+value.toPrecision(3));
}

function shareText(value) {
  if (value === null || value === undefined) return "–";
  return value > 0 && value < 0.005 ? "<1 %" : `${Math.round(100 * value)} %`;
}

function shortened(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/* An HTML element; texts are never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
