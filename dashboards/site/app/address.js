/* The address: which page, and its choices. Everything that a reader chooses stands in it, so that a link reproduces the page. */

export function read() {
  const [page, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { page, chosen: Object.fromEntries(new URLSearchParams(query)) };
}

export function write(page, chosen) {
  const known = Object.entries(chosen).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `#/${page}?${new URLSearchParams(known)}`;
}

export function go(page, chosen) {
  location.hash = write(page, chosen);
}

/* As dashboards.ui.reading.filled: `$name` becomes a literal, an empty choice NULL. */
export function filled(sql, values) {
  return sql.replace(/\$(\w+)/g, (_, name) => literal(values[name] ?? null));
}

function literal(value) {
  if (value === null || value === "") return "null";
  if (typeof value === "number") return String(value);
  return `'${String(value).replaceAll("'", "''")}'`;
}
