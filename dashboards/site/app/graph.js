/* A graph by the dashboard's own viewer: its data from the rows of nodes, its view from the address and back. */

import viewer from "./viewer.js";
import { make } from "./elements.js";

const NODE = ["node_id", "kind", "layer", "position", "token", "feature_id", "token_id", "label", "activation", "influence", "total", "transport_share"];
const EDGES = { source: "sources", weight: "weights", transport: "transport_weights", share: "transport_shares", influence: "influences" };
const START = { pinned: [], clicked: "", supernodes: [], nodes: 1, edges: 0.7, weights: "attribution" };

export function graphOf({ rows }, { values, keep }) {
  const place = make("div", { class: "graph" });
  const root = place.attachShadow({ mode: "open" }); // the viewer styles buttons and tables of its own
  const inside = make("div");
  const style = make("link", { rel: "stylesheet", href: new URL("viewer.css", import.meta.url) });
  const styled = new Promise((done) => ["load", "error"].forEach((event) => style.addEventListener(event, done)));
  root.append(style, inside);
  const data = { ...packed(rows), title: values.prompt, kind: values.graph_kind, view: viewOf(values, rows) };
  const draw = async () => {
    await styled; // it measures its place
    viewer({ parentElement: inside, data, setStateValue: (_, view) => keep(parametersOf(view)) });
  };
  return { place, draw };
}

/* Columns of nodes, and of edges in the order of their influence. */
function packed(rows) {
  const nodes = Object.fromEntries(NODE.map((name) => [name, rows.map((row) => row[name])]));
  const edges = rows.flatMap((row, target) => (row.sources ?? []).map((_, i) => ({ target, ...Object.fromEntries(Object.entries(EDGES).map(([name, list]) => [name, row[list][i]])) })));
  edges.sort((a, b) => a.influence - b.influence);
  const columns = ["target", ...Object.keys(EDGES)].map((name) => [name, edges.map((edge) => edge[name])]);
  return { tokens: rows[0].tokens, proposed: rows[0].proposed ?? [], nodes, edges: Object.fromEntries(columns) };
}

/* The view that the address describes; what it says of unknown nodes, or unreadably, is ignored. */
function viewOf(values, rows) {
  const known = new Set(rows.map((row) => row.node_id));
  const share = (text, start) => (text !== null && Number(text) >= 0 && Number(text) <= 1 ? Number(text) : start);
  return {
    pinned: (values.pinned ?? "").split(",").filter((id) => known.has(id)),
    clicked: known.has(values.clicked) ? values.clicked : "",
    supernodes: groupsOf(values.supernodes, known),
    nodes: share(values.nodes, START.nodes),
    edges: share(values.edges, START.edges),
    weights: values.weights === "transport" ? "transport" : START.weights,
  };
}

function groupsOf(text, known) {
  try {
    const groups = JSON.parse(text ?? "[]").map(([label, ...ids]) => [String(label), ...ids.filter((id) => known.has(id))]);
    return groups.filter((group) => group.length > 1);
  } catch {
    return [];
  }
}

/* The view as parameters; null where it is as at first. */
function parametersOf(view) {
  const texts = { ...view, pinned: view.pinned.join(","), supernodes: view.supernodes.length ? JSON.stringify(view.supernodes) : "" };
  return Object.fromEntries(Object.entries(START).map(([name, start]) => [name, texts[name] === start || texts[name] === "" ? null : String(texts[name])]));
}
