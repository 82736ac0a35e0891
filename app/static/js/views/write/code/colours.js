// Colours a sheet's text where it is code: ranges over the text as it is, so that every character
// can still be touched. Browsers without custom highlights show it plain.

import { languageOf } from "./language.js";

/** UTF-16 units of a text that are coloured; more takes a moment. */
const MOST = 100_000;
const KINDS = ["keyword", "string", "number", "comment", "meta", "title"];

const highlights = new Map();
if (globalThis.Highlight)
  for (const kind of KINDS) {
    const highlight = new Highlight();
    CSS.highlights.set(`code-${kind}`, highlight);
    highlights.set(kind, highlight);
  }

export class CodeColours {
  #sheet;
  #ranges = [];
  #shown = null;

  constructor(sheet) {
    this.#sheet = sheet;
  }

  clear() {
    this.#shown = null;
    for (const { kind, range } of this.#ranges) highlights.get(kind).delete(range);
    this.#ranges = [];
  }

  /** Colours the text as it is now, if it is code. */
  async show() {
    const { text } = this.#sheet;
    if (!highlights.size || text === this.#shown) return;
    this.clear();
    this.#shown = text;
    const language = languageOf(text);
    if (!language) return;
    // Without a server the text stays plain.
    const { tokensOf } = await import("./tokens.js").catch(() => ({}));
    // Another text may be there by now.
    if (!tokensOf || text !== this.#shown || text !== this.#sheet.text) return;
    for (const { kind, start, end } of tokensOf(text.slice(0, MOST), language)) {
      if (start === end) continue;
      const range = this.#sheet.range(start, end);
      highlights.get(kind).add(range);
      this.#ranges.push({ kind, range });
    }
  }
}
