/* The fields above the panels. A choice that the address does not name, or that there is not, is the first option. */

import { filled, go } from "./address.js";
import { make, shown } from "./elements.js";

/* What is chosen: name -> value, with the collection; and as the fields say it. */
export async function resolve(page, chosen, collection, database) {
  const values = { collection };
  const fields = [];
  const said = {};
  for (const choice of page.choices) {
    const options = await optionsOf(choice, values, database);
    values[choice.name] = valueOf(choice, options, chosen[choice.name]);
    said[choice.name] = options.find(({ value }) => value === values[choice.name])?.label ?? String(values[choice.name]);
    fields.push({ choice, options });
  }
  return { values, said, fields };
}

async function optionsOf({ options }, values, database) {
  if (Array.isArray(options)) return options.map((value) => ({ value, label: value }));
  const { columns, rows } = await database.query(filled(options, values));
  return rows.map((row) => {
    const [value, label] = columns.map(({ name, kind }) => (row[name] === null ? null : kind === "integer" ? row[name] : shown(row[name], kind)));
    return { value, label: label ?? String(value) };
  });
}

function valueOf({ kind, empty }, options, wanted) {
  if (kind === "text" || (kind === "state" && options.length === 0)) return wanted ?? null;
  if (kind === "number" && /^\d{1,9}$/.test(wanted ?? "")) return Number(wanted);
  const named = options.find(({ value }) => String(value) === wanted);
  if (named) return named.value;
  return empty !== null || options.length === 0 ? null : options[0].value;
}

export function fieldsOf(page, { values, fields }) {
  const change = (name) => (event) => go(page.name, { ...values, [name]: event.target.value });
  return fields.filter(({ choice }) => choice.kind !== "state").map(({ choice, options }) => {
    const { name, label, kind, empty } = choice;
    if (kind !== "list") {
      const type = kind === "text" ? "text" : "number";
      return make("label", {}, label, make("input", { type, name, value: values[name] ?? "", placeholder: empty, min: "0", onchange: change(name) }));
    }
    const listed = (empty === null ? [] : [{ value: "", label: empty }]).concat(options);
    const picked = values[name] === null ? "" : String(values[name]);
    const items = listed.map((option) => make("option", { value: option.value, selected: String(option.value) === picked }, option.label));
    return make("label", {}, label, make("select", { name, onchange: change(name) }, items));
  });
}
