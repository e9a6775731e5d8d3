/* One node in words: what it is, and its edges in and out, by attribution beside transport. */

const EDGES_LISTED = 12;

function nodeDetails(graph, i, { palette, isShown, choose }) {
  if (i === null) return make("p", { class: "hint" }, "No node is shown.");
  const { nodes } = graph;
  return make(
    "div",
    {},
    make("h4", {}, titleOf(graph, i)),
    make("p", { class: "said" }, nodes.label[i] ?? (nodes.kind[i] === "feature" ? "no label" : kindText(graph, i))),
    make("p", { class: "facts" }, factsOf(graph, i)),
    edgeList(graph, "Into it", graph.incoming[i], graph.edges.source, { palette, isShown, choose }),
    edgeList(graph, "Out of it", graph.outgoing[i], graph.edges.target, { palette, isShown, choose }),
  );
}

function kindText(graph, i) {
  return {
    error: "what the SAE leaves out",
    transport_error: "what the operator misses",
    token: "the token's embedding",
    constant: "biases and means",
    logit: isOneToken(graph, i) ? "logit of a next token, less the mean logit" : "difference of the logits of two next tokens",
  }[graph.nodes.kind[i]];
}

function factsOf(graph, i) {
  const { activation, influence, transport_share, kind } = graph.nodes;
  const parts = [];
  if (kind[i] === "feature") parts.push(`activation ${numberText(activation[i])}`);
  if (isOneToken(graph, i)) parts.push(`probability ${shareText(activation[i])}`);
  if (influence[i] !== null && kind[i] !== "logit") parts.push(`in the first ${shareText(influence[i])} of influence`);
  if (transport_share[i] !== null) parts.push(`${shareText(transport_share[i])} of it is transport`);
  return parts.join(" · ");
}

function edgeList(graph, title, edges, ends, { palette, isShown, choose }) {
  if (edges.length === 0) return make("p", { class: "hint" }, `${title}: no edges`);
  const { weight, transport, share } = graph.edges;
  const sorted = [...edges].sort((a, b) => Math.abs(weight[b]) - Math.abs(weight[a]));
  const isCompared = graph.kind === "attribution";
  const rows = sorted.slice(0, EDGES_LISTED).map((e) => {
    const name = make("button", { class: "plain", onclick: () => choose(ends[e]) }, titleOf(graph, ends[e]));
    const bar = make("span", { class: "bar", title: "share that is transport" });
    bar.style.background = graph.shades[e] === null ? "none" : colourOf(palette, graph.shades[e]);
    return make(
      "tr",
      { class: isShown[ends[e]] ? "" : "away" },
      make("td", {}, bar, name),
      make("td", {}, numberText(weight[e])),
      ...(isCompared ? [make("td", {}, numberText(transport[e])), make("td", {}, shareText(share[e]))] : []),
    );
  });
  const more = sorted.length - rows.length;
  const heads = isCompared ? ["attribution", "transport", "share"] : ["transport"];
  return make(
    "table",
    {},
    make("caption", {}, more > 0 ? `${title}: the ${rows.length} strongest of ${sorted.length}` : `${title}: ${sorted.length}`),
    make("tr", {}, make("th", {}), ...heads.map((head) => make("th", {}, head))),
    ...rows,
  );
}
