/* Pinned nodes, supernodes made of them by hand or taken over, and the effects between these. */

function groupsPanel(graph, view, { act, unticked }) {
  const grouped = new Set(view.supernodes.flatMap((group) => group.slice(1)));
  const free = view.pinned.filter((id) => !grouped.has(id));
  const named = (id) => titleOf(graph, graph.index.get(id));
  const chips = free.map((id) =>
    make(
      "span",
      { class: "chip" },
      make(
        "label",
        {},
        make("input", {
          type: "checkbox",
          checked: !unticked.has(id),
          onchange: (event) => (event.target.checked ? unticked.delete(id) : unticked.add(id)),
        }),
        named(id),
      ),
      make("button", { class: "plain", "aria-label": `Unpin ${named(id)}`, onclick: () => act({ unpin: id }) }, "×"),
    ),
  );
  const name = make("input", { type: "text", placeholder: "name of the supernode", "aria-label": "Name of the supernode", maxlength: 60 });
  const group = () => {
    const members = free.filter((id) => !unticked.has(id));
    const label = freeName(view, name.value.trim());
    if (members.length) act({ group: [label, ...members] });
  };
  name.addEventListener("keydown", (event) => event.key === "Enter" && group());
  const supernodes = view.supernodes.map(([label, ...members], g) => {
    const text = make("input", { type: "text", "aria-label": `Name of supernode ${label}`, maxlength: 60 });
    text.value = label;
    text.addEventListener("change", () => act({ rename: [label, freeName(view, text.value.trim() || label, label)] }));
    const dot = make("span", { class: "dot" });
    dot.style.background = GROUP_COLOURS[g % GROUP_COLOURS.length];
    return make(
      "div",
      { class: "supernode" },
      dot,
      text,
      make("span", { class: "said" }, members.map(named).join(", ")),
      make("button", { onclick: () => act({ ungroup: label }) }, "Ungroup"),
    );
  });
  const taken = new Set(view.supernodes.map(([label]) => label));
  const proposed = (graph.proposed ?? []).filter(([label]) => !taken.has(label)).map(([label, ...members]) =>
    make("button", { class: "proposed", title: members.map(named).join(", "), onclick: () => act({ group: [label, ...members] }) },
      `${label} (${members.length})`),
  );
  return make(
    "div",
    { class: "groups" },
    make("h4", {}, "Pinned"),
    free.length ? make("div", { class: "chips" }, ...chips) : make("p", { class: "hint" }, "Nothing is pinned outside supernodes."),
    free.length ? make("div", { class: "row" }, name, make("button", { onclick: group }, "Group the ticked")) : null,
    supernodes.length ? make("h4", {}, "Supernodes") : null,
    ...supernodes,
    proposed.length ? make("h4", {}, "Proposed supernodes") : null,
    proposed.length ? make("div", { class: "chips" }, ...proposed) : null,
    between(graph, view),
  );
}

/* The wanted name, with a number if another supernode has it. */
function freeName(view, wanted, own = null) {
  const taken = new Set(view.supernodes.map(([label]) => label).filter((label) => label !== own));
  const first = wanted || "supernode";
  let name = first;
  for (let i = 2; taken.has(name); i++) name = `${first} ${i}`;
  return name;
}

/* A new view after what the reader did to its groups. */
function changedGroups(view, { unpin, group, rename, ungroup }) {
  if (unpin) return { ...view, pinned: view.pinned.filter((id) => id !== unpin) };
  if (ungroup) return { ...view, supernodes: view.supernodes.filter(([label]) => label !== ungroup) };
  if (rename) {
    return { ...view, supernodes: view.supernodes.map(([label, ...ids]) => [label === rename[0] ? rename[1] : label, ...ids]) };
  }
  const [label, ...members] = group;
  const left = view.supernodes.map(([old, ...ids]) => [old, ...ids.filter((id) => !members.includes(id))]);
  const pinned = [...new Set([...view.pinned, ...members])];
  return { ...view, pinned, supernodes: [...left.filter((one) => one.length > 1), [label, ...members]] };
}

/* Sums of the edges between pinned nodes and supernodes: both weights; of transport only what was compared. */
function sumsBetween(graph, view) {
  const unit = new Map(view.pinned.map((id) => [graph.index.get(id), id]));
  for (const [label, ...ids] of view.supernodes) for (const id of ids) unit.set(graph.index.get(id), label);
  const sums = new Map();
  const { source, target, weight, transport } = graph.edges;
  for (let e = 0; e < source.length; e++) {
    const from = unit.get(source[e]);
    const to = unit.get(target[e]);
    if (from === undefined || to === undefined || from === to) continue;
    const key = JSON.stringify([from, to]);
    const sum = sums.get(key) ?? { from, to, weight: 0, transport: null, edges: 0 };
    sum.weight += weight[e];
    if (transport[e] !== null) sum.transport = (sum.transport ?? 0) + transport[e];
    sum.edges += 1;
    sums.set(key, sum);
  }
  return [...sums.values()].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
}

function between(graph, view) {
  const sums = sumsBetween(graph, view);
  if (sums.length === 0) return null;
  const isCompared = graph.kind === "attribution";
  const named = (unit) => (graph.index.has(unit) ? titleOf(graph, graph.index.get(unit)) : unit);
  return make(
    "table",
    { class: "between" },
    make("caption", {}, "Effects between pinned nodes and supernodes"),
    make("tr", {}, ...["from", "to", graph.kind, ...(isCompared ? ["transport"] : []), "edges"].map((head) => make("th", {}, head))),
    ...sums.map((sum) =>
      make(
        "tr",
        {},
        make("td", {}, named(sum.from)),
        make("td", {}, named(sum.to)),
        make("td", {}, numberText(sum.weight)),
        isCompared ? make("td", {}, numberText(sum.transport)) : null,
        make("td", {}, String(sum.edges)),
      ),
    ),
  );
}
