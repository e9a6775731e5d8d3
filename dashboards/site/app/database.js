/* DuckDB in the browser. A table is fetched, as Parquet, when a statement first names it. */

import { AsyncDuckDB, VoidLogger, readParquet, startParquet } from "../libraries/libraries.js";

const WORDS = /\w+/g;
const LISTS_TABLES = /\b(show|information_schema\w*|duckdb_\w+|pragma\w*)\b/i;
const READS = /^\s*(select|with|from|values|describe|show|summarize|explain|pivot|unpivot)\b|^\s*\(/i;
/* Extensions and files would be fetched from elsewhere. */
const OFFLINE = "set autoinstall_known_extensions = false; set autoload_known_extensions = false; set enable_external_access = false; set lock_configuration = true";

export class Database {
  constructor(tables) {
    this.tables = tables;
    this.loaded = new Map();
    this.last = Promise.resolve();
    this.started = this.start();
  }

  async start() {
    const at = (file) => new URL(`../libraries/${file}`, import.meta.url);
    const [engine] = await Promise.all([inflated(at("duckdb.wasm.gz")), inflated(at("parquet.wasm.gz")).then(startReader)]);
    const db = new AsyncDuckDB(new VoidLogger(), new Worker(at("duckdb-worker.js")));
    const url = URL.createObjectURL(new Blob([engine], { type: "application/wasm" }));
    await db.instantiate(url);
    URL.revokeObjectURL(url);
    await db.open({ query: { castDecimalToDouble: true } });
    this.connection = await db.connect();
    await this.connection.query(OFFLINE);
  }

  /* The rows of one read-only statement: `{ columns: [{ name, kind }], rows: [{ name: value }] }`. */
  async query(sql) {
    if (!READS.test(sql)) throw new Error("only read-only statements are allowed: write one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN");
    await this.load(LISTS_TABLES.test(sql) ? Object.keys(this.tables) : new Set(sql.match(WORDS)));
    return plainRows(await this.run(sql));
  }

  async load(names) {
    await this.started;
    const wanted = [...names].filter((name) => Object.hasOwn(this.tables, name));
    for (const name of wanted) {
      if (!this.loaded.has(name)) this.loaded.set(name, this.fetch(name));
      this.loaded.get(name).catch(() => this.loaded.delete(name)); // the next statement tries again
    }
    await Promise.all(wanted.map((name) => this.loaded.get(name)));
  }

  async fetch(name) {
    const { columns, file } = this.tables[name];
    if (file === null) {
      const declared = columns.map((column) => `${quoted(column.name)} ${column.type}`).join(", ");
      return this.run(`create table ${quoted(name)} (${declared})`);
    }
    const answer = await fetch(new URL(`../${file}`, import.meta.url));
    if (!answer.ok) throw new Error(`${file} is missing on the server (${answer.status}): copy the whole folder again`);
    const rows = readParquet(new Uint8Array(await answer.arrayBuffer())).intoIPCStream();
    await this.next(() => this.connection.insertArrowFromIPCStream(rows, { name, create: true }));
    const found = plainRows(await this.run(`describe ${quoted(name)}`)).rows.map((row) => row.column_type);
    for (const [i, { name: column, type }] of columns.entries()) {
      if (found[i] !== type) await this.run(`alter table ${quoted(name)} alter ${quoted(column)} type ${type}`);
    }
  }

  run(sql) {
    return this.next(() => this.connection.query(sql));
  }

  /* One statement at a time. */
  next(work) {
    const result = this.last.then(work);
    this.last = result.catch(() => {});
    return result;
  }
}

async function inflated(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url.pathname} is missing on the server (${answer.status}): copy the whole folder again`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const isCompressed = bytes[0] === 0x1f && bytes[1] === 0x8b; // some servers inflate .gz on the way
  if (!isCompressed) return bytes;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

function startReader(bytes) {
  return startParquet({ module_or_path: bytes });
}

function quoted(name) {
  return `"${name.replaceAll('"', '""')}"`;
}

function plainRows(table) {
  const columns = table.schema.fields.map((field) => ({ name: field.name, kind: kindOf(String(field.type)) }));
  const vectors = columns.map((_, i) => table.getChildAt(i));
  const rows = [];
  for (let i = 0; i < table.numRows; i++) {
    rows.push(Object.fromEntries(columns.map(({ name, kind }, c) => [name, plain(vectors[c].get(i), kind)])));
  }
  return { columns, rows };
}

function kindOf(type) {
  if (/^U?[Ii]nt\d/.test(type)) return "integer";
  if (/^(Float|Decimal)/.test(type)) return "number";
  if (type.startsWith("Bool")) return "boolean";
  if (type.startsWith("Timestamp")) return "time";
  return /^(List|FixedSizeList|Map|Struct)/.test(type) ? "nested" : "text";
}

function plain(value, kind) {
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (kind === "time") return new Date(Number(value)).toISOString();
  if (kind === "number" && !Number.isFinite(value)) return String(value);
  if (typeof value !== "object") return value;
  if (value[Symbol.iterator] && !value.toJSON?.call) return Array.from(value, (item) => plain(item));
  const inner = value.toJSON();
  if (Array.isArray(inner) || ArrayBuffer.isView(inner)) return Array.from(inner, (item) => plain(item));
  return Object.fromEntries(Object.entries(inner).map(([name, item]) => [name, plain(item)]));
}
