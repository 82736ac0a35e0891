// A long text in a page, and where its characters stand. A hundred thousand characters are a
// hundred thousand characters of text, not of elements: which one is under a point is worked out
// when somebody points at it. Knows no control and no server.

import { el } from "../../ui.js";
import { lastAtOrBefore } from "../search.js";
import { after, isInside } from "./units.js";

const BLOCK = 1200;
const LONGEST_BLOCK = 20_000;
/** Pixels that the end of a line is wide, where one wants to see it. */
const LINE_END = 8;

/**
 * How many units of a text still belong to a block that has `used` already, and whether they end
 * it. A block ends with a line; one without lines, once it is very long, with a word.
 */
export function partOf(text, used) {
  let size = text.indexOf("\n", Math.max(0, BLOCK - used)) + 1;
  if (!size && used + text.length > LONGEST_BLOCK) size = text.lastIndexOf(" ") + 1;
  return { size: size || text.length, isEnd: size > 0 };
}

/** Text that grows at its end, in blocks, so that a browser need not lay out all of it again. */
export class Blocks {
  /** Units so far. */
  length = 0;
  #nodes;
  #starts;
  #parts;
  #block;
  #used;
  #first;

  /** @param {Element} first stands in front of the text, whatever becomes of that */
  constructor(first) {
    this.#first = first;
    this.body = el("div", { class: "body" });
    this.clear();
  }

  clear() {
    this.length = 0;
    this.#nodes = new WeakMap();
    this.#starts = [];
    this.#parts = [];
    this.#block = null;
    this.body.replaceChildren(this.#first);
  }

  /** Adds text at the end; with a `kind` it stands in a span of that class. */
  append(text, kind = null) {
    let rest = text;
    while (rest) {
      if (!this.#block) {
        this.#block = el("div", { class: "block" });
        this.#used = 0;
        this.body.append(this.#block);
      }
      const { size, isEnd } = partOf(rest, this.#used);
      this.#appendHere(rest.slice(0, size), kind);
      if (isEnd) this.#block = null;
      rest = rest.slice(size);
    }
  }

  #appendHere(text, kind) {
    const node = document.createTextNode(text);
    this.#block.append(kind ? el("span", { class: kind }, node) : node);
    this.#nodes.set(node, this.length);
    this.#starts.push({ node, start: this.length });
    this.#parts.push(text);
    this.#used += text.length;
    this.length += text.length;
  }

  /** The whole text. */
  get text() {
    if (this.#parts.length > 1) this.#parts = [this.#parts.join("")];
    return this.#parts[0] ?? "";
  }

  /** The character at a position. */
  charAt(position) {
    return String.fromCodePoint(this.text.codePointAt(position));
  }

  /** The text between two places in the page, as they come in a range; null if one is not here. */
  between(range) {
    const from = this.#nodes.get(range.startContainer);
    const to = this.#nodes.get(range.endContainer);
    if (from === undefined || to === undefined) return null;
    return this.text.slice(from + range.startOffset, to + range.endOffset);
  }

  rangeOf(position) {
    const { node, start } =
      this.#starts[lastAtOrBefore(this.#starts, position, ({ start }) => start)];
    const range = document.createRange();
    range.setStart(node, position - start);
    range.setEnd(node, Math.min(node.length, after(node.data, position - start)));
    return range;
  }

  /** Where a character stands in the window; the end of a line, which has no width, gets one. */
  boxOf(position) {
    const box = [...this.rangeOf(position).getClientRects()].at(-1);
    if (!box) return null;
    const { left, top, bottom, height } = box;
    return { left, top, bottom, height, width: Math.max(box.width, LINE_END) };
  }

  /** The position of the character under a point of the window; null if there is none. */
  positionAt(x, y) {
    const { node, offset } = caretAt(x, y);
    if (!node || !this.#nodes.has(node)) return null;
    const start = this.#nodes.get(node);
    // A caret stands between two characters: the one that is meant is under the point.
    for (const at of [offset, offset - 1]) {
      if (at < 0 || at >= node.length || isInside(node.data, at)) continue;
      if (isUnder(this.boxOf(start + at), x, y)) return start + at;
    }
    return node.data[offset] === "\n" ? start + offset : null;
  }
}

function caretAt(x, y) {
  if (document.caretPositionFromPoint) {
    const caret = document.caretPositionFromPoint(x, y);
    return { node: caret?.offsetNode, offset: caret?.offset };
  }
  const caret = document.caretRangeFromPoint(x, y);
  return { node: caret?.startContainer, offset: caret?.startOffset };
}

/** Whether a point is in a box, or so near that it was meant. */
function isUnder(box, x, y) {
  if (!box) return false;
  return (
    x >= box.left - 1 && x <= box.left + box.width + 1 && y >= box.top - 4 && y <= box.bottom + 4
  );
}
