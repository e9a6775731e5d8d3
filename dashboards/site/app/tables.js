/* Rows as a table, as cards, as a list of sentences and as windows of text. */

import { write } from "./address.js";
import { isNumeric, make, shown, tokenText } from "./elements.js";

const SHOWN_ROWS = 200;
const LONG = 60; // characters of a fact that takes a line of its own
const [WEAKEST, STRONGEST] = [0.12, 0.6];
const KINDS = { top: "strongest", quantile: "by quantile", random: "random" };

/* Where a row leads, as an address; null where the row lacks something, or the site the page. */
export function target(link, row, { collection, pages }) {
  if (!link || !pages.has(link.page)) return null;
  const chosen = Object.entries(link.columns).map(([choice, column]) => [choice, row[column] ?? null]);
  if (chosen.some(([, value]) => value === null)) return null;
  return write(link.page, { collection, ...Object.fromEntries(chosen) });
}

export function tableOf({ columns, rows }, { declared = [], link = null, collection = null, pages = new Map() } = {}) {
  const kinds = Object.fromEntries(columns.map(({ name, kind }) => [name, kind]));
  const kept = declared.length ? declared : columns.map(({ name }) => ({ name, title: name, format: "auto" }));
  const heads = kept.map(({ name, title }) => make("th", { scope: "col", class: isNumeric(kinds[name]) ? "number" : null }, title));
  const lines = rows.slice(0, SHOWN_ROWS).map((row) => {
    const address = target(link, row, { collection, pages });
    const cells = kept.map(({ name, format }, i) => {
      const text = shown(row[name], kinds[name], format);
      const long = ["text", "nested"].includes(kinds[name]) && text.length > 28;
      return make(
        "td",
        { class: isNumeric(kinds[name]) ? "number" : long ? "text" : null },
        i === 0 && address ? make("a", { href: address }, text) : text,
      );
    });
    const open = (event) => event.target.closest("a") ?? (location.hash = address);
    return make("tr", address ? { class: "leads", onclick: open } : {}, cells);
  });
  const table = make("table", {}, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, lines));
  const cut = rows.length > SHOWN_ROWS ? make("p", { class: "count" }, `first ${SHOWN_ROWS} of ${rows.length.toLocaleString("en")} rows; the SQL page saves all`) : null;
  return make("div", {}, make("div", { class: "scroll", tabindex: "0" }, table), cut);
}

export function cardsOf({ columns, rows }, { declared, link, collection, pages }) {
  const kinds = Object.fromEntries(columns.map(({ name, kind }) => [name, kind]));
  const cards = rows.map((row) => {
    const address = target(link, row, { collection, pages });
    const facts = declared.map(({ name, title, format }) => {
      const text = shown(row[name], kinds[name], format);
      return make("div", { class: text.length > LONG ? "long" : null }, make("dt", {}, title), make("dd", {}, text));
    });
    const more = address ? make("p", {}, make("a", { href: address }, "Its page")) : null;
    return make("div", { class: "card" }, make("dl", {}, facts), more);
  });
  return make("div", { class: "cards" }, cards);
}

export function sentencesOf({ rows }, { pages, collection }) {
  const lines = rows.map(({ topic, sentence, page }) => {
    const more = pages.has(page) ? [" ", make("a", { href: write(page, { collection }) }, "More")] : [];
    return make("li", {}, make("span", { class: "topic" }, `${topic}: `), sentence, ...more);
  });
  return make("ul", { class: "sentences" }, lines);
}

export function windowsOf({ rows }, { link, collection, pages }) {
  return make("div", { class: "scroll", tabindex: "0" }, rows.map((row) => windowOf(row, target(link, row, { collection, pages }))));
}

function windowOf(row, address) {
  const spans = row.tokens.map((token, i) => {
    const activation = row.activations[i];
    const span = make("span", activation > 0 ? { title: activation.toFixed(3) } : {}, activation > 0 ? tokenText(token) : token.replaceAll("\n", "↵"));
    if (activation > 0) span.style.background = `rgba(230, 159, 0, ${WEAKEST + (STRONGEST - WEAKEST) * Math.min(activation / row.largest, 1)})`;
    if (i === row.position - row.start) span.style.textDecoration = "underline";
    return span;
  });
  const quantile = row.quantile === null ? "" : `, quantile ${row.quantile}`;
  const from = `${KINDS[row.kind] ?? row.kind}, ${row.activation.toFixed(3)}${quantile}, position ${row.position} of sequence ${row.sequence_id}`;
  return make("div", {}, make("p", { class: "window" }, spans), make("p", { class: "from" }, address ? make("a", { href: address }, from) : from));
}
