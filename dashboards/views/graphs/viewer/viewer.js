/* The viewer: holds the view, draws what it shows, tells the page of every change so that the address keeps it. */

const NARROW = 600;

class GraphViewer {
  constructor(root) {
    this.root = root;
    this.unticked = new Set();
    this.unfolded = new Map(); // layer of the list -> whether the reader has it open
    this.sent = [];
    this.hovered = null;
    this.frame = 0;
    root.replaceChildren(this.controls(), this.body());
    this.observer = new ResizeObserver(() => this.width !== root.clientWidth && this.draw());
    this.observer.observe(root);
  }

  /* Take over data of the page; an echo of what was sent changes nothing. */
  update(data, tell) {
    this.tell = tell;
    this.graph = readGraph(data);
    const echo = this.sent.indexOf(JSON.stringify(data.view));
    if (echo < 0 || !this.view) this.view = data.view;
    if (echo < 0 || echo === this.sent.length - 1) this.sent = [];
    this.weightsField.hidden = this.graph.kind !== "attribution";
    this.draw();
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
  }

  controls() {
    this.sliders = {};
    const slider = (name, label) => {
      const said = make("output", {});
      const input = make("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": `${label} by influence` });
      input.addEventListener("input", () => {
        this.view = { ...this.view, [name]: Number(input.value) };
        this.drawSoon();
      });
      input.addEventListener("change", () => this.send());
      this.sliders[name] = { input, said };
      return make("label", {}, label, input, said);
    };
    this.weights = make(
      "select",
      { "aria-label": "Edges by", onchange: (event) => this.change({ weights: event.target.value }) },
      make("option", { value: "attribution" }, "attribution"),
      make("option", { value: "transport" }, "transport"),
    );
    this.weightsField = make("label", {}, "Edges by", this.weights);
    this.legend = make("span", { class: "legend", "aria-label": "Share that is transport: orange computed, blue carried" });
    const save = (label, write) => make("button", { onclick: write }, label);
    return make(
      "div",
      { class: "controls" },
      slider("nodes", "Nodes"),
      slider("edges", "Edges"),
      this.weightsField,
      make("span", { class: "scale" }, "computed", this.legend, "transport"),
      save("SVG", () => saveSvg(this.graph, this.asText())),
      save("PNG", () => savePng(this.graph, this.asText(), this.layout)),
      save("Clear", () => this.change({ pinned: [], clicked: "", supernodes: [] })),
    );
  }

  body() {
    this.base = make("canvas", { class: "base", "aria-hidden": "true" });
    this.over = make("canvas", { class: "over", "aria-hidden": "true" });
    this.stage = make("div", { class: "stage" }, this.base, this.over);
    this.stage.addEventListener("pointerover", (event) => this.hover(this.nodeAt(event)));
    this.stage.addEventListener("pointerleave", () => this.hover(null));
    this.stage.addEventListener("focusin", (event) => this.hover(this.nodeAt(event)));
    this.stage.addEventListener("focusout", () => this.hover(null));
    this.stage.addEventListener("click", (event) => this.nodeAt(event) !== null && this.pin(this.nodeAt(event)));
    this.stage.addEventListener("keydown", (event) => this.key(event));
    this.aside = make("aside", { "aria-label": "The node in words" });
    this.scroll = make("div", { class: "scroll", onscroll: () => this.keepNames() }, this.stage);
    this.listed = make("div", {});
    this.below = make("div", {});
    return make("div", {}, make("div", { class: "body" }, this.scroll, this.aside), this.listed, this.below);
  }

  nodeAt(event) {
    const node = event.target.closest?.("[data-node]");
    return node ? Number(node.dataset.node) : null;
  }

  drawSoon() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.drawAgain());
  }

  draw() {
    if (!this.graph) return;
    this.width = this.root.clientWidth;
    this.isNarrow = this.width < NARROW;
    this.root.classList.toggle("narrow", this.isNarrow);
    this.palette = paletteOf(this.root);
    this.shown = shownParts(this.graph, this.view);
    this.layout = layOut(this.graph, this.shown.isShown, this.isNarrow ? NARROW : this.scroll.clientWidth);
    const focused = this.root.getRootNode().activeElement?.dataset?.node;
    const { picture, elements } = drawNodes(this.graph, this.layout, this.shown.isShown, this.palette);
    this.picture?.remove();
    this.picture = picture;
    this.elements = elements;
    this.stage.append(picture);
    this.stage.style.width = `${this.layout.width}px`;
    this.stage.style.height = `${this.layout.height}px`;
    this.stops(focused === undefined ? null : Number(focused));
    if (focused !== undefined) elements.get(Number(focused))?.focus();
    this.drawEdges();
    this.mark();
    if (!this.isScrolled && !this.isNarrow) {
      this.scroll.scrollLeft = this.layout.width;
      this.isScrolled = true;
    }
    this.keepNames();
  }

  /* Draw a changed view: nodes only if others are shown than before. */
  drawAgain() {
    const shown = shownParts(this.graph, this.view);
    if (!shown.isShown.every((is, i) => is === this.shown.isShown[i])) {
      this.draw();
      return;
    }
    this.shown = shown;
    this.drawEdges();
  }

  drawEdges() {
    const weights = weightsOf(this.graph, this.view);
    const drawn = drawEdges(this.base, this.layout, this.graph, this.shown.edges, weights, this.palette);
    this.root.dataset.edges = drawn;
    this.root.dataset.nodes = this.elements.size;
    this.say();
  }

  /* The names of layers stay in sight. */
  keepNames() {
    this.picture.querySelector(".names").setAttribute("transform", `translate(${this.scroll.scrollLeft},0)`);
  }

  /* One node is reached by Tab, the others by arrows. */
  stops(wanted) {
    const first = wanted ?? this.graph.index.get(this.view.clicked) ?? [...this.elements.keys()].at(-1);
    for (const [i, element] of this.elements) element.setAttribute("tabindex", i === first ? 0 : -1);
  }

  mark() {
    markNodes(this.graph, this.layout, this.elements, this.view, this.palette);
    this.hover(this.hovered);
    const act = (done) => this.change(changedGroups(this.view, done));
    this.below.replaceChildren(groupsPanel(this.graph, this.view, { act, unticked: this.unticked }));
    this.listed.replaceChildren(
      this.isNarrow
        ? nodeList(this.graph, this.shown.isShown, this.view, {
            choose: (i) => this.choose(i === this.graph.index.get(this.view.clicked) ? null : i),
            open: this.graph.index.get(this.view.clicked) ?? null,
            details: (i) => this.entry(i),
            unfolded: this.unfolded,
          })
        : "",
    );
  }

  /* An opened entry of the list: a button that pins, and the node in words. */
  entry(i) {
    const isPinned = this.view.pinned.includes(this.graph.nodes.node_id[i]);
    const pin = make("button", { onclick: () => this.pin(i, !isPinned) }, isPinned ? "Unpin" : "Pin");
    return make("div", {}, pin, this.details(i));
  }

  details(i) {
    const { isShown } = this.shown;
    return nodeDetails(this.graph, i, { palette: this.palette, isShown, choose: (other) => this.choose(other) });
  }

  say() {
    const { edges } = this.shown;
    this.sliders.nodes.input.value = this.view.nodes;
    this.sliders.edges.input.value = this.view.edges;
    this.sliders.nodes.said.value = `${this.elements.size} of ${this.graph.n}`;
    this.sliders.edges.said.value = `${edges.length.toLocaleString("en")} of ${this.graph.edges.source.length.toLocaleString("en")}`;
    this.weights.value = this.view.weights;
    const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => colourOf(this.palette, share));
    this.legend.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  }

  /* Show the edges of one node above all others, and its words. */
  hover(i) {
    this.hovered = i !== null && this.elements.has(i) ? i : null;
    const isOn = this.hovered !== null;
    this.stage.classList.toggle("hovering", isOn);
    for (const near of this.picture.querySelectorAll(".near")) near.classList.remove("near");
    this.over.width = 0;
    if (isOn) {
      const { source, target } = this.graph.edges;
      const own = [...this.graph.incoming[i], ...this.graph.outgoing[i]].filter(
        (e) => this.shown.isShown[source[e]] && this.shown.isShown[target[e]],
      );
      for (const e of own) for (const end of [source[e], target[e]]) this.elements.get(end).classList.add("near");
      this.elements.get(i).classList.add("near");
      const weights = weightsOf(this.graph, this.view);
      this.root.dataset.hovered = drawEdges(this.over, this.layout, this.graph, own, weights, this.palette);
    }
    const shown = this.hovered ?? this.graph.index.get(this.view.clicked) ?? this.first();
    if (!this.isNarrow) this.aside.replaceChildren(this.details(shown));
  }

  /* What is told of before anything was clicked: the likeliest logit, or the most influential node. */
  first() {
    const { kind, influence, activation } = this.graph.nodes;
    const rank = (i) => (kind[i] === "logit" ? -1 - activation[i] : influence[i] ?? 1);
    return [...this.elements.keys()].reduce((best, i) => (best === null || rank(i) < rank(best) ? i : best), null);
  }

  pin(i, isPinned = !this.view.pinned.includes(this.graph.nodes.node_id[i])) {
    const id = this.graph.nodes.node_id[i];
    const others = this.view.pinned.filter((other) => other !== id);
    const supernodes = isPinned ? this.view.supernodes : this.view.supernodes.map((group) => group.filter((one, k) => k === 0 || one !== id)).filter((group) => group.length > 1);
    this.stops(i);
    this.change({ pinned: isPinned ? [...others, id] : others, supernodes, clicked: id });
  }

  choose(i) {
    this.change({ clicked: i === null ? "" : this.graph.nodes.node_id[i] });
  }

  key(event) {
    const from = this.nodeAt(event);
    if (from === null) return;
    if (event.key === "Enter" || event.key === " ") this.pin(from);
    else if (event.key.startsWith("Arrow")) {
      const next = neighbourOf(this.layout, this.elements, from, event.key);
      if (next !== null) {
        this.stops(next);
        this.elements.get(next).focus();
      }
    } else return;
    event.preventDefault();
  }

  /* A new view, drawn and told. */
  change(changes) {
    this.view = { ...this.view, ...changes };
    this.drawAgain();
    this.mark();
    this.send();
  }

  send() {
    this.sent.push(JSON.stringify(this.view));
    this.tell("view", this.view);
  }

  asText() {
    const weights = weightsOf(this.graph, this.view);
    return pictureText(this.graph, this.layout, this.shown, weights, this.picture, this.palette);
  }
}

const VIEWERS = new WeakMap();

export default function ({ parentElement, data, setStateValue }) {
  let root = parentElement.querySelector(".graph-viewer");
  if (!root) {
    root = make("div", { class: "graph-viewer" });
    parentElement.append(root);
  }
  if (!VIEWERS.has(root)) VIEWERS.set(root, new GraphViewer(root));
  VIEWERS.get(root).update(data, setStateValue);
  return () => VIEWERS.get(root)?.close();
}
