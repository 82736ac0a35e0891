// A long text in a page, and where its characters are. A hundred thousand characters take a few
// text nodes, not as many elements: the character under a point is located when somebody points at
// it. Knows no control and no server.

import { el } from "../../ui.js";
import { lastAtOrBefore } from "../search.js";
import { after, startOf } from "./units.js";

/** UTF-16 units after which a block ends with its line. */
const BLOCK = 1200;
/** UTF-16 units after which a block ends within a line. */
const LONGEST_BLOCK = 20_000;
/** The width, in pixels, of a mark on a line end, which has no width itself. */
const LINE_END = 8;

/**
 * How many units of a text fit into a block of `used` units, and whether they end the block. It
 * ends with a line; if that is very long, with a word.
 */
export function partOf(text, used) {
  let size = text.indexOf("\n", Math.max(0, BLOCK - used)) + 1;
  if (!size && used + text.length > LONGEST_BLOCK) size = text.lastIndexOf(" ") + 1;
  return { size: size || text.length, isEnd: size > 0 };
}

/** Text in blocks, so that the browser lays out only the last one when text is appended. */
export class Blocks {
  /** In UTF-16 units. */
  length = 0;
  #nodes;
  #starts;
  #parts;
  #block;
  #used;
  #first;

  /** @param {Element} first stays in front of the text */
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

  /** Appends text; with a `kind`, in a span of that class. */
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

  /** The unit at a position. */
  unitAt(position) {
    return this.text.slice(position, after(this.text, position));
  }

  /** The text in a range of the page; null if it begins or ends outside this text. */
  between(range) {
    const from = this.#nodes.get(range.startContainer);
    const to = this.#nodes.get(range.endContainer);
    if (from === undefined || to === undefined) return null;
    return this.text.slice(from + range.startOffset, to + range.endOffset);
  }

  /** The range of the unit at a position. */
  rangeOf(position) {
    return this.rangeBetween(position, after(this.text, position));
  }

  /** The range of the page between two positions, of which the second is behind the first. */
  rangeBetween(start, end) {
    const range = document.createRange();
    const [first, last] = [start, end - 1].map((at) => this.#placeOf(at));
    range.setStart(first.node, first.offset);
    range.setEnd(last.node, last.offset + 1);
    return range;
  }

  #placeOf(position) {
    const { node, start } =
      this.#starts[lastAtOrBefore(this.#starts, position, ({ start }) => start)];
    return { node, offset: position - start };
  }

  /** The box of the unit at a position in the window; a line end gets a width. */
  boxOf(position) {
    const boxes = [...this.rangeOf(position).getClientRects()];
    // The first character of a line has an empty box at the end of the line before, too.
    const box = boxes.findLast(({ width }) => width) ?? boxes.at(-1);
    if (!box) return null;
    const { left, top, bottom, height } = box;
    return { left, top, bottom, height, width: Math.max(box.width, LINE_END) };
  }

  /** The position of the unit under a point of the window; null if there is none. */
  positionAt(x, y) {
    const { node, offset } = caretAt(x, y);
    if (!node || !this.#nodes.has(node)) return null;
    const caret = this.#nodes.get(node) + offset;
    // A caret is between two units: take the one under the point.
    for (const place of [caret, caret - 1]) {
      const at = startOf(this.text, place);
      if (at >= 0 && at < this.length && isUnder(this.boxOf(at), x, y)) return at;
    }
    return node.data[offset] === "\n" ? caret : null;
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

/** Whether a point is in a box or close to it. */
function isUnder(box, x, y) {
  if (!box) return false;
  return (
    x >= box.left - 1 && x <= box.left + box.width + 1 && y >= box.top - 4 && y <= box.bottom + 4
  );
}
