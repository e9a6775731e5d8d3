/* A text in pieces: colours, words on hovering, and a panel with the features of the piece that was clicked. */

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toPrecision(3)} %`);
const decimal = (value) => (value === null ? "–" : value.toFixed(3));
const VIEWS = new WeakMap();

class TokenView {
  constructor(root) {
    this.root = root;
    this.text = make("div", { class: "text" });
    this.below = make("div", {});
    this.text.addEventListener("click", (event) => this.toggle(event.target.closest(".known")));
    this.text.addEventListener("keydown", (event) => this.key(event));
    root.replaceChildren(this.text, this.below);
  }

  update(data, choose) {
    this.choose = choose;
    const given = JSON.stringify(data);
    if (given === this.given) return;
    this.given = given;
    this.data = data;
    this.text.replaceChildren(...data.pieces.map((piece, i) => this.piece(piece, i)));
    const first = this.text.querySelector(".known");
    if (first) first.tabIndex = 0;
    this.show(null);
    this.root.dataset.pieces = data.pieces.length;
    const marked = this.text.querySelector(".marked");
    if (marked && !this.scrolled) {
      this.scrolled = true;
      // Again when the panels above have got their height.
      for (const wait of [0, 400, 1200]) setTimeout(() => marked.scrollIntoView({ block: "center" }), wait);
    }
  }

  piece(piece, i) {
    const classes = ["piece"];
    for (const [name, holds] of [
      ["known", piece.details.length > 0],
      ["centre", piece.centre],
      ["marked", piece.marked],
      ["break", /^\n+$/.test(piece.text)],
    ])
      if (holds) classes.push(name);
    const known = piece.details.length > 0;
    const span = make("span", { class: classes.join(" "), title: piece.title, "data-piece": i, role: known ? "button" : null }, piece.text);
    if (known) span.tabIndex = -1;
    const { colours } = piece;
    if (colours.length === 1) span.style.background = colours[0];
    else if (colours.length) {
      const part = 100 / colours.length;
      const stops = colours.map((colour, c) => `${colour} ${c * part}% ${(c + 1) * part}%`);
      span.style.background = `linear-gradient(to bottom, ${stops.join(", ")})`;
    }
    return span;
  }

  key(event) {
    const known = [...this.text.querySelectorAll(".known")];
    const at = known.indexOf(event.target);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && at >= 0) {
      const next = known[Math.min(Math.max(at + step, 0), known.length - 1)];
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    } else if (event.key === "Enter" || event.key === " ") this.toggle(event.target.closest(".known"));
    else if (event.key === "Escape") this.show(null);
    else return;
    event.preventDefault();
  }

  toggle(span) {
    if (span) this.show(span.classList.contains("open") ? null : span);
  }

  show(span) {
    for (const open of this.text.querySelectorAll(".open")) open.classList.remove("open");
    if (!span) {
      this.below.replaceChildren();
      return;
    }
    span.classList.add("open");
    const { details } = this.data.pieces[Number(span.dataset.piece)];
    const close = make("button", { class: "close", "aria-label": "Close", onclick: () => this.show(null) }, "×");
    this.below.replaceChildren(make("section", { class: "panel" }, close, ...details.flatMap((one) => this.details(one))));
  }

  details(of) {
    const numbers = of.numbers.map(([name, value]) => `${name} ${decimal(value)}`);
    const said =
      of.n_active === null ? "not read" : of.rows.length ? `${of.rows.length} of ${of.n_active} active features` : "no feature to show";
    const heading = make("h4", {}, `“${of.token}”, position ${of.position}`);
    const facts = make("p", {}, [said, ...numbers].join(" · "));
    if (!of.rows.length) return [heading, facts];
    const { names, prefix, predicts, choosable } = this.data;
    const rows = of.rows.map(([number, activation, predicted]) => {
      const { name, rate, href } = names[number];
      const colour = make("button", { onclick: () => this.choose(number) }, "highlight");
      return make(
        "tr",
        {},
        make("td", {}, make("a", { href, target: "_self" }, `${prefix}${number}`)),
        make("td", {}, decimal(activation)),
        predicts ? make("td", { class: predicted > 0 ? "" : "silent" }, predicted > 0 ? decimal(predicted) : "silent") : null,
        make("td", {}, percent(rate)),
        make("td", { class: "name" }, name ?? "no label"),
        choosable ? make("td", {}, colour) : null,
      );
    });
    const heads = ["feature", "activation", ...(predicts ? ["predicted"] : []), "fires on"];
    const head = [...heads.map((text) => make("th", {}, text)), make("th", { class: "name" }, "label"), choosable ? make("th", {}) : null];
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...head.filter(Boolean))), make("tbody", {}, ...rows));
    return [heading, facts, make("div", { class: "scroll" }, table)];
  }
}

export default function ({ parentElement, data, setTriggerValue }) {
  let root = parentElement.querySelector(".token-view");
  if (!root) {
    root = make("div", { class: "token-view" });
    parentElement.append(root);
  }
  if (!VIEWS.has(root)) VIEWS.set(root, new TokenView(root));
  VIEWS.get(root).update(data, (feature) => setTriggerValue("highlight", feature));
}
