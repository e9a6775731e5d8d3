/* Page `sql`: any read-only statement over the tables of the site. */

import { go } from "./address.js";
import { make, marked } from "./elements.js";
import { tableOf } from "./tables.js";

const EXAMPLE = "select source_layer, target_layer, method, mean_r2, mean_r2_low, mean_r2_high, n_features_scored\nfrom transport_map\norder by mean_r2 desc nulls last\nlimit 10";

export async function sqlPage(place, { database, tables, chosen, collection }) {
  const text = make("textarea", { "aria-label": "Statement", spellcheck: "false" });
  text.value = chosen.sql ?? EXAMPLE;
  const result = make("div", { id: "result" });
  const run = () => (text.value === chosen.sql ? answer() : go("sql", { collection, sql: text.value }));
  const save = make("button", { disabled: true, onclick: () => saveCsv(answered) }, "Save as CSV");
  let answered = null;

  async function answer() {
    result.replaceChildren(make("p", { class: "message", role: "status" }, "Running …"));
    try {
      const statement = text.value.trim().replace(/;$/, "");
      answered = await database.query(statement);
      save.disabled = false;
      const types = await typesOf(database, statement);
      const declared = answered.columns.map(({ name }) => ({ name, title: types[name] ? `${name} ${types[name]}` : name, format: "auto" }));
      result.replaceChildren(tableOf(answered, { declared }), make("p", { class: "count" }, counted(answered.rows.length)));
    } catch (error) {
      result.replaceChildren(make("p", { class: "wrong", role: "alert" }, String(error.message ?? error).trim()));
    }
  }

  text.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && run());
  const actions = make("div", { class: "actions" }, make("button", { onclick: run }, "Run"), save);
  place.append(make("section", { class: "panel" }, text, actions, result), make("section", { class: "panel" }, tablesList(tables)));
  if (chosen.sql !== undefined) await answer();
}

async function typesOf(database, statement) {
  if (!/^\s*(select|with|from)\b/i.test(statement)) return {};
  const { rows } = await database.query(`describe ${statement}`);
  return Object.fromEntries(rows.map((row) => [row.column_name, row.column_type]));
}

function tablesList(tables) {
  const entries = Object.entries(tables).map(([name, { meaning, rows, columns }]) => {
    const listed = columns.map((column) => make("tr", {}, make("td", {}, column.name), make("td", {}, column.type), make("td", { class: "text" }, column.meaning)));
    const head = make("summary", {}, make("code", {}, name), ` ${counted(rows)}: `, ...marked(meaning));
    return make("details", {}, head, make("div", { class: "scroll" }, make("table", {}, listed)));
  });
  return make("div", {}, make("h2", {}, "Tables"), entries);
}

function counted(rows) {
  return `${rows.toLocaleString("en")} ${rows === 1 ? "row" : "rows"}`;
}

function saveCsv({ columns, rows }) {
  const cell = (value) => {
    const text = value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const names = columns.map(({ name }) => name);
  const lines = [names.map(cell), ...rows.map((row) => names.map((name) => cell(row[name])))].map((line) => line.join(","));
  const url = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  make("a", { href: url, download: "rows.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
