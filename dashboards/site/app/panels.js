/* A panel: a title, the rows of one statement as a chart, table or text, a note, and the statement with its rows on request. */

import { filled, write } from "./address.js";
import { chartOf } from "./charts.js";
import { make } from "./elements.js";
import { cardsOf, sentencesOf, tableOf, windowsOf } from "./tables.js";

export async function fill(place, panel, { database, values, pages }) {
  const sql = filled(panel.sql, values);
  const body = make("div", {}, make("p", { class: "message", role: "status" }, "Loading …"));
  const link = write("sql", { collection: values.collection, sql });
  const numbers = make("div");
  const statement = make("details", {}, make("summary", {}, "SQL and rows"), make("pre", {}, make("code", {}, sql)), make("a", { href: link }, "Open in the SQL page"), numbers);
  place.append(make("h2", {}, panel.title), body, make("p", { class: "note" }, marked(panel.note)), statement);
  try {
    const found = await database.query(sql);
    const about = { ...panel, declared: panel.columns, collection: values.collection, pages };
    statement.addEventListener("toggle", () => statement.open && numbers.replaceChildren(tableOf(found)));
    statement.querySelector("summary").textContent = `SQL and rows (${found.rows.length.toLocaleString("en")})`;
    if (found.rows.length === 0) body.replaceChildren(make("p", { class: "message" }, panel.empty));
    else await draw(body, found, about);
  } catch (error) {
    body.replaceChildren(make("p", { class: "wrong", role: "alert" }, String(error.message ?? error).trim()));
  }
}

/* `names` in a note are set as code. */
function marked(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

async function draw(body, found, about) {
  if (about.view === "chart") {
    const { place, draw } = await chartOf(found, about);
    body.replaceChildren(place);
    await draw();
    if (about.columns.length) body.append(tableOf(found, about));
    return;
  }
  const parts = { table: tableOf, facts: cardsOf, windows: windowsOf, sentences: sentencesOf };
  body.replaceChildren(parts[about.view](found, about));
}
