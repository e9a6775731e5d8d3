/* The fields above the panels. A choice that the address does not name, or that there is not, is the first option. */

import { filled, go } from "./address.js";
import { nameOf } from "./compare.js";
import { make, shown } from "./elements.js";

/* What is chosen: name -> value, with the collection; as the fields say it; and what statements are given: of two things also all
   that is known of each. */
export async function resolve(page, chosen, collection, database) {
  const values = { collection };
  const fields = [];
  const said = {};
  for (const choice of page.choices) {
    const options = await optionsOf(choice, values, database);
    values[choice.name] = valueOf(choice, options, chosen[choice.name], values);
    said[choice.name] = options.find(({ value }) => value === values[choice.name])?.label ?? String(values[choice.name]);
    fields.push({ choice, options });
  }
  const sides = page.sides ? (await database.query(filled(page.sides, values))).rows : [];
  const known = sides.flatMap(({ side, ...columns }) => Object.entries(columns).map(([name, value]) => [`${side}_${name}`, value]));
  return { values, said, fields, given: { ...values, ...Object.fromEntries(known) } };
}

async function optionsOf({ options }, values, database) {
  if (Array.isArray(options)) return options.map((value) => ({ value, label: value }));
  const { columns, rows } = await database.query(filled(options, values));
  return rows.map((row) => {
    const [value, label] = columns.map(({ name, kind }) => (row[name] === null ? null : kind === "integer" ? row[name] : shown(row[name], kind)));
    return { value, label: label ?? String(value) };
  });
}

function valueOf({ kind, empty, prefix, unlike }, options, wanted, values) {
  if (prefix) return prefixed(prefix, wanted ?? "") ?? (options.find(({ value }) => value !== values[unlike]) ?? options[0])?.value ?? null;
  if (kind === "text" || (kind === "state" && options.length === 0)) return wanted ?? null;
  if (kind === "number" && /^\d{1,9}$/.test(wanted ?? "")) return Number(wanted);
  const named = options.find(({ value }) => String(value) === wanted);
  if (named) return named.value;
  return empty !== null || options.length === 0 ? null : options[0].value;
}

/* A name with its prefix, which it may lack; null if it says no more. */
function prefixed(prefix, text) {
  const rest = text.startsWith(prefix) ? text.slice(prefix.length) : text;
  return rest === "" ? null : prefix + rest;
}

export function fieldsOf(page, { values, fields }) {
  const change = (name) => (event) => go(nameOf(page), { ...values, [name]: event.target.value });
  return fields.filter(({ choice }) => choice.kind !== "state").map(({ choice, options }) => {
    const { name, label, kind, empty, prefix } = choice;
    if (kind !== "list") {
      const type = kind === "text" ? "text" : "number";
      const bare = (value) => (value ?? "").toString().slice(prefix.length);
      const list = prefix ? make("datalist", { id: `offered-${name}` }, options.map((option) => make("option", { value: bare(option.value) }, option.label))) : null;
      return make("label", {}, label, make("input", { type, name, value: bare(values[name]), placeholder: empty, min: "0", list: list?.id, onchange: change(name) }), list);
    }
    const beyond = prefix && values[name] && !options.some(({ value }) => value === values[name]) ? [{ value: values[name], label: values[name] }] : [];
    const listed = (empty === null || prefix ? [] : [{ value: "", label: empty }]).concat(options, beyond);
    const picked = values[name] === null ? "" : String(values[name]);
    const items = listed.map((option) => make("option", { value: option.value, selected: String(option.value) === picked }, option.label));
    return make("label", {}, label, make("select", { name, onchange: change(name) }, items));
  });
}
