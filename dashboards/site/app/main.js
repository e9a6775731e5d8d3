/* The pages of a published study: what `site.json` declares, run over its Parquet files; nothing is asked of another host. */

import { go, read, write } from "./address.js";
import { followTheSystem } from "./charts.js";
import { fieldsOf, resolve } from "./choices.js";
import { fieldsOfKinds, nameOf, pageOf, saidOf, wayToCompare } from "./compare.js";
import { Database } from "./database.js";
import { make } from "./elements.js";
import { fill } from "./panels.js";
import { sqlPage } from "./sql.js";

const SQL = { name: "sql", title: "SQL", about: "What else do the tables say?", choices: [], panels: [], listed: true };
const OF = { feature: "features", text: "features", labelled: "labels" }; // pages that stand in the navigation under another
const content = document.querySelector("main");
let shown = 0; // pages begun; one that another has overtaken draws no further

const answer = await fetch(new URL("../site.json", import.meta.url), { cache: "no-cache" });
const site = await answer.json();
const pages = new Map([...site.pages, SQL].map((page) => [page.name, page]));
export const database = new Database(site.tables);
database.started.catch((error) => say(`DuckDB did not start: ${error.message ?? error}. The site needs a browser with WebAssembly and DecompressionStream, of 2023 or later.`));
document.querySelector("footer").append(footer());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part of the address after # names the page
  content.focus();
});
addEventListener("hashchange", draw);
followTheSystem(draw);
await draw();

async function draw() {
  const own = ++shown;
  const { page: name, chosen } = read();
  const page = pageOf(pages, name || site.pages[0].name, chosen);
  const collection = site.collections.includes(chosen.collection) ? chosen.collection : site.collections[0];
  navigation(page, collection, chosen);
  if (page === undefined) return say(`There is no page ${name}: choose one above.`);
  document.title = `${page.title} · Activation transport`;
  Object.assign(content.dataset, { state: "drawing", page: nameOf(page) });
  const choices = make("div", { class: "choices" });
  const panels = make("div", { class: "panels" });
  content.replaceChildren(make("h1", {}, page.title), make("p", { class: "about" }, page.about), choices, panels);
  try {
    if (page === SQL) await sqlPage(panels, { database, tables: site.tables, chosen, collection });
    else await panelsOf(page, { chosen, collection, choices, panels, own });
  } catch (error) {
    if (own === shown) say(String(error.message ?? error));
  }
  if (own === shown) content.dataset.state = "drawn";
}

async function panelsOf(page, { chosen, collection, choices, panels, own }) {
  choices.append(make("p", { class: "message", role: "status" }, "Loading …"));
  const resolved = await resolve(page, chosen, collection, database);
  if (own !== shown) return;
  const { values, given } = resolved;
  history.replaceState(null, "", write(nameOf(page), values)); // the address says what is shown, also by default
  const [kind, swap] = fieldsOfKinds(page, pages, values);
  choices.replaceChildren(...kind, ...fieldsOf(page, resolved), ...swap, ...wayToCompare(page, pages, values));
  const said = saidOf(page, values, given);
  if (said !== null) choices.after(make("p", { class: said.wrong ? "wrong" : "message", role: said.wrong ? "alert" : "status" }, said.text));
  if (said?.wrong) return;
  const places = page.panels.map((panel) => make("section", { class: panel.wide ? "panel" : "panel half" }));
  panels.replaceChildren(...places);
  const about = { database, values: given, said: resolved.said, pages, keep };
  await Promise.all(page.panels.map((panel, i) => fill(places[i], panel, about)));

  /* Keep what a panel says of itself in the address, and draw again the panels that ask for it. */
  async function keep(changes) {
    if (own !== shown) return;
    const changed = Object.keys(changes).filter((name) => changes[name] !== about.values[name]);
    about.values = { ...about.values, ...changes };
    history.replaceState(null, "", write(page.name, about.values));
    const asks = ({ sql, view }) => view !== "graph" && changed.some((name) => new RegExp(`\\$${name}\\b`).test(sql));
    await Promise.all(page.panels.map((panel, i) => own === shown && asks(panel) && fill(places[i], panel, about)));
  }
}

function navigation(page, collection, chosen) {
  const here = page && (OF[page.name] ?? nameOf(page));
  const titles = new Map([...pages.values()].filter(({ listed }) => listed).map((kept) => [nameOf(kept), kept.title]));
  const links = [...titles].map(([name, title]) => make("a", { href: write(name, { collection }), "aria-current": name === here ? "page" : null }, title));
  document.querySelector("nav").replaceChildren(...links);
  if (site.collections.length < 2) return;
  const items = site.collections.map((key) => make("option", { value: key, selected: key === collection }, key));
  const change = (event) => go(page ? nameOf(page) : "", { ...chosen, collection: event.target.value });
  document.querySelector("#collection").replaceChildren(make("label", {}, "Collection", make("select", { onchange: change }, items)));
}

function footer() {
  const text = site.with_text ? "" : " Text of the corpus is left out.";
  return make("p", {}, `Published by the ATO platform ${site.version}, schema ${site.schema_version}.${text} The data are Parquet files in the folder data of this site. `, make("a", { href: "libraries/licences.txt" }, "Licences of the libraries"));
}

function say(message) {
  content.replaceChildren(make("p", { class: "wrong", role: "alert" }, message));
  content.dataset.state = "drawn";
}
