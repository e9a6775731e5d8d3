/* A panel: a title, the rows of one statement as a chart, table or text, a note, and the statement with its rows on request. */

import { filled, write } from "./address.js";
import { chartOf } from "./charts.js";
import { make, marked } from "./elements.js";
import { graphOf } from "./graph.js";
import { cardsOf, sentencesOf, tableOf, windowsOf } from "./tables.js";

export async function fill(place, panel, { database, values, said, pages, keep }) {
  const sql = filled(panel.sql, values);
  const body = make("div", {}, make("p", { class: "message", role: "status" }, "Loading …"));
  const link = write("sql", { collection: values.collection, sql });
  const numbers = make("div");
  const statement = make("details", {}, make("summary", {}, "SQL and rows"), make("pre", {}, make("code", {}, sql)), make("a", { href: link }, "Open in the SQL page"), numbers);
  place.replaceChildren(make("h2", {}, panel.title), body, make("p", { class: "note" }, marked(panel.note)), statement);
  try {
    const found = await database.query(sql);
    const about = { ...panel, declared: panel.columns, collection: values.collection, values, said, pages, keep };
    statement.addEventListener("toggle", () => statement.open && numbers.replaceChildren(tableOf(found)));
    statement.querySelector("summary").textContent = `SQL and rows (${found.rows.length.toLocaleString("en")})`;
    if (found.rows.length === 0) body.replaceChildren(make("p", { class: "message" }, marked(panel.empty)));
    else await draw(body, found, about);
  } catch (error) {
    body.replaceChildren(make("p", { class: "wrong", role: "alert" }, String(error.message ?? error).trim()));
  }
}

async function draw(body, found, about) {
  if (about.sides) return drawSides(body, found, about);
  if (about.view === "chart" || about.view === "graph") {
    const { place, draw } = about.view === "chart" ? chartOf(found, about) : graphOf(found, about);
    body.replaceChildren(place);
    await draw();
    if (about.view === "graph") return;
    if (about.columns.length) body.append(tableOf(found, about));
    return;
  }
  const parts = { table: tableOf, facts: cardsOf, windows: windowsOf, sentences: sentencesOf };
  body.replaceChildren(parts[about.view](found, about));
}

/* The rows of each side in a place of its own, under its name in its colour. */
async function drawSides(body, { columns, rows }, about) {
  const halves = Object.entries(about.sides).map(([side, colour]) => {
    const place = make("div", {}, make("p", { class: "message" }, "Nothing is stored of it."));
    return { own: rows.filter((row) => row.side === side), place, half: make("div", {}, make("h3", {}, make("span", { style: `color: ${colour}` }, "■"), ` ${side}`), place) };
  });
  body.replaceChildren(make("div", { class: "sides" }, halves.map(({ half }) => half)));
  const drawn = halves.filter(({ own }) => own.length > 0);
  await Promise.all(drawn.map(({ own, place }) => draw(place, { columns, rows: own }, { ...about, sides: null })));
}
