// The names that somebody keeps, in this browser, and the files they can be saved as. Knows no
// element.

const KEY = "charloom-kept-names";
const MOST = 2000;
/** With these a spreadsheet takes a cell for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

/** `{name, model, at}` of each, in the order in which they were kept; no name twice. */
export class Kept extends EventTarget {
  #all;
  /** Whether the browser keeps them: it may be told not to, or have no room. */
  isSafe = true;

  constructor() {
    super();
    this.#all = this.#stored() ?? [];
    // Another tab of this browser.
    addEventListener("storage", ({ key }) => {
      if (key !== KEY && key !== null) return;
      this.#all = this.#stored() ?? [];
      this.#tell();
    });
  }

  get all() {
    return this.#all;
  }

  has(name) {
    return this.#all.some((one) => one.name === name);
  }

  keep(name, model) {
    this.#change((all) =>
      all.some((one) => one.name === name)
        ? all
        : [...all, { name, model, at: new Date().toISOString() }].slice(-MOST),
    );
  }

  drop(name) {
    this.#change((all) => all.filter((one) => one.name !== name));
  }

  clear() {
    this.#change(() => []);
  }

  #change(change) {
    // As they are now: another tab may have changed them.
    this.#all = change((this.isSafe && this.#stored()) || this.#all);
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#all));
      this.isSafe = true;
    } catch {
      this.isSafe = false;
    }
    this.#tell();
  }

  #stored() {
    try {
      return listed(localStorage.getItem(KEY));
    } catch {
      this.isSafe = false;
      return null;
    }
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

/** The names in what was stored, whoever stored it. */
export function listed(stored) {
  let all;
  try {
    all = JSON.parse(stored ?? "[]");
  } catch {
    return [];
  }
  if (!Array.isArray(all)) return [];
  const isText = (value) => typeof value === "string";
  return all.filter((one) => isText(one?.name) && isText(one.model) && isText(one.at)).slice(-MOST);
}

/** One name a line. */
export const asText = (kept) => kept.map(({ name }) => `${name}\n`).join("");

/** RFC 4180, with a byte-order mark: without one Excel takes it for another encoding. */
export function asCsv(kept) {
  const rows = [["name", "model", "kept"], ...kept.map(({ name, model, at }) => [name, model, at])];
  return `\ufeff${rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("")}`;
}

/** A spreadsheet must not run what an unknown model wrote: an apostrophe makes it text. */
function cell(value) {
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
