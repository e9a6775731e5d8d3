/* The graph as a list, layers from the output down, of which the first is open: for narrow screens. */

function nodeList(graph, isShown, view, { choose, details, open, unfolded }) {
  const { layer, position, influence } = graph.nodes;
  const layers = [...new Set(layer.filter((_, i) => isShown[i]))].sort((a, b) => b - a);
  const pinned = new Set(view.pinned);
  return make(
    "div",
    { class: "list" },
    ...layers.map((one) => {
      const members = [...layer.keys()].filter((i) => isShown[i] && layer[i] === one);
      members.sort((a, b) => one < 0 ? position[a] - position[b] : (influence[a] ?? 0) - (influence[b] ?? 0));
      const isUnfolded = members.includes(open) || (unfolded.get(one) ?? one === layers[0]);
      return make(
        "details",
        { open: isUnfolded, ontoggle: ({ target }) => unfolded.set(one, target.open) },
        make("summary", {}, `${bandName(graph, one)} (${members.length})`),
        ...members.map((i) => {
          const id = graph.nodes.node_id[i];
          const isOpen = i === open;
          const entry = make(
            "div",
            { class: "entry" },
            make(
              "button",
              {
                class: pinned.has(id) ? "item pinned" : "item",
                "data-id": id,
                "aria-expanded": String(isOpen),
                onclick: () => choose(i),
              },
              make("strong", {}, titleOf(graph, i)),
              make("span", { class: "said" }, shortened(graph.nodes.label[i] ?? "", 80)),
            ),
          );
          if (isOpen) entry.append(details(i));
          return entry;
        }),
      );
    }),
  );
}
