/* Elements, and values as text. */

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null).map((child) => (typeof child === "string" ? visible(child) : child)));
  return element;
}

/* As ato.text.display.visible: control characters and changes of direction are shown instead of obeyed. */
function visible(text) {
  return text.replace(/[\u202a-\u202e\u2066-\u2069\u0080-\u009f]/g, "\ufffd").replace(/[\0-\b\v-\x1f\x7f]/g, (c) => (c === "\x7f" ? "\u2421" : String.fromCharCode(0x2400 + c.charCodeAt(0))));
}

/* `names` in a text are set as code; a percent sign stays with its number. */
export function marked(text) {
  return text.replaceAll(" %", "\u00a0%").split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

/* A value as text, as `ato sql` has it: four digits that count, a dash for NULL. */
export function shown(value, kind, format = "auto") {
  if (value === null) return "–";
  if (format === "percent") return `${(100 * value).toLocaleString("en", { maximumSignificantDigits: 3 })} %`;
  if (format === "signed") return (value > 0 ? "+" : "") + numberText(value);
  if (format === "integer" && typeof value === "number") return value.toLocaleString("en", { maximumFractionDigits: 0 });
  if (format === "list") return [value].flat().map(tokenText).join("  ");
  if (kind === "boolean") return value ? "yes" : "no";
  if (kind === "integer" && typeof value === "number") return Math.abs(value) >= 10_000 ? value.toLocaleString("en") : String(value);
  if (kind === "number" && typeof value === "number") return numberText(value);
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

function numberText(value) {
  if (Number.isInteger(value)) return value.toLocaleString("en", { useGrouping: Math.abs(value) >= 10_000 });
  const size = Math.abs(value);
  if (size < 1e-4) return value.toExponential(3).replace(/\.?0+(?=e)/, "");
  return size < 1e-3 || size >= 1e4 ? value.toPrecision(4).replace(/\.?0+(?=e|$)/, "") : String(Number(value.toFixed(4)));
}

export function tokenText(token) {
  return token === null ? "–" : String(token).replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "⇥");
}

export function isNumeric(kind) {
  return kind === "integer" || kind === "number";
}
