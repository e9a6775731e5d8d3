/* Pages that compare two things are one for each kind: `compare/operator` in `site.json`, `compare?left=operator:KEY` in the address. */

import { go, write } from "./address.js";
import { make } from "./elements.js";

/* As the address has it. */
export function nameOf(page) {
  return page.name.split("/")[0];
}

/* The page that an address names; of several of that name the one of the kind on the left, else the first. */
export function pageOf(pages, name, { left = "" }) {
  return pages.get(name) ?? pages.get(`${name}/${left.split(":")[0]}`) ?? [...pages.values()].find((page) => nameOf(page) === name);
}

/* The field of the kind, and the button that swaps the sides. */
export function fieldsOfKinds(page, pages, values) {
  if (!page.kind) return [[], []];
  const { collection, left, right } = values;
  const change = (event) => go(nameOf(page), { collection, left: event.target.value });
  const others = [...pages.values()].filter((other) => nameOf(other) === nameOf(page));
  const items = others.map(({ name, kind }) => make("option", { value: `${name.split("/")[1]}:`, selected: name === page.name }, kind));
  const swap = make("button", { class: "low", onclick: () => go(nameOf(page), { ...values, left: right, right: left }) }, "Swap");
  return [[make("label", {}, "Kind", make("select", { name: "kind", onchange: change }, items))], [swap]];
}

/* The way from a page to the comparison of what it is about. */
export function wayToCompare({ compared }, pages, values) {
  const left = compared?.replace(/\$(\w+)/g, (_, name) => values[name] ?? "\0");
  if (!left || left.includes("\0") || !pages.has(`compare/${left.split(":")[0]}`)) return [];
  return [make("a", { class: "low", href: write("compare", { collection: values.collection, left }) }, "Compare with …")];
}

/* What is wrong with the two, or to be said of them; null if nothing is. */
export function saidOf(page, { left, right }, given) {
  if (!page.sides) return null;
  const missing = [["left", left], ["right", right]].filter(([side]) => given[`${side}_collection`] === undefined).map(([, name]) => name ?? "nothing");
  if (missing.length) return { wrong: true, text: `This site has no ${missing.join(" and no ")}: choose another.` };
  return left === right ? { wrong: false, text: "Both sides are the same: every difference is 0." } : null;
}
