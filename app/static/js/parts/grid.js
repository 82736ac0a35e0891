// A long text on canvas, each character in a box of its own: coloured, and with guesses below it.
// The caller says what the colours are. Knows no model.
//
// Thirty thousand characters would be thirty thousand elements. The canvases are strips, drawn when
// they come near the screen and emptied when they have left it.

import { t } from "../language.js";
import { colour, el, spoken } from "../ui.js";
import { Layout } from "./grid/layout.js";
import { Strip } from "./grid/strip.js";

/** Pixels of a strip, about. */
const STRIP = 720;
const NEAR = "300px";
/** Rows of a text with guesses: the text and five guesses. */
const ROWS = 6;
/** What may take two boxes: no letter below is measured. */
const WIDE = /[\u1000-\u{10ffff}]/u;

export class Grid {
  #pointed;
  #text = { chars: [], paint: () => null, below: null };
  #width = 0;
  #layout = null;
  #box = null;
  #at = null;
  #colours = new Map();
  #stripOf = new Map();
  #isRepainting = false;
  #place = el("div", { class: "strips" });
  #mark = el("div", { class: "mark", hidden: true });
  #heard = el("p", { class: "heard", "aria-live": "polite" });
  #watcher;

  /** `pointed` is called with the index that is pointed at, or null; returns words about it. */
  constructor({ label, pointed }) {
    this.#pointed = pointed;
    const move = (event) => this.#moved(event);
    const leave = () => this.#point(null);
    const on = {
      pointermove: move,
      pointerdown: move,
      pointerleave: leave,
      keydown: (event) => this.#pressed(event),
      blur: leave,
    };
    const properties = {
      class: "grid",
      tabindex: "0",
      role: "group",
      "aria-label": label,
      "aria-description": t("Arrow keys go through the characters"),
      on,
    };
    this.root = el("div", properties, this.#place, this.#mark, this.#heard);
    this.#watcher = this.#watch();
    new ResizeObserver(([entry]) => this.#resized(entry.contentRect.width)).observe(this.root);
    addEventListener("colours", () => this.#recolour());
  }

  /**
   * Shows a text.
   *
   * @param {{chars: string[], paint: (i: number) => [string, number] | null,
   *   below: ((i: number) => [string, number, boolean][]) | null, seams?: Set<number>}} text
   *   `paint` gives a colour's name, its strength from 0 to 1, and whether its bar is below the
   *   character (1) or above it (-1); `below` the guesses, their probability, and whether each came
   *   true; `seams` the characters before which the text does not go on.
   */
  update(text) {
    const { chars, below } = this.#text;
    const isSameText = text.chars === chars;
    const isSame = isSameText && Boolean(text.below) === Boolean(below);
    const top = isSameText ? this.#top : 0;
    this.#text = text;
    if (isSame && this.#layout?.length) this.#repaint();
    else this.#lay(top);
  }

  /** The index of the first character in sight. */
  get #top() {
    if (!this.#layout?.length) return 0;
    const line = Math.round(this.root.scrollTop / this.#box.height);
    return this.#layout.lines[Math.min(line, this.#layout.lines.length - 1)].start;
  }

  /** Draws all of it, in sight or not, as paper wants it. */
  drawAll() {
    for (const strip of this.#stripOf.values()) strip.draw(this.#text);
  }

  /** Scrolls to a character and marks it. */
  reveal(index) {
    if (!this.#layout?.length) return;
    this.root.scrollTop = this.#topOf(index);
    this.#point(index);
  }

  // Drawing

  #watch() {
    const seen = (entries) => {
      for (const { target, isIntersecting } of entries) {
        const strip = this.#stripOf.get(target);
        if (isIntersecting) strip?.draw(this.#text);
        else strip?.empty();
      }
    };
    return new IntersectionObserver(seen, { root: this.root, rootMargin: NEAR });
  }

  #resized(width) {
    if (Math.abs(width - this.#width) < 1) return;
    this.#width = width;
    if (width) this.#lay(this.#top);
  }

  /** Lays the text out, with a character at the top. */
  #lay(top) {
    this.#point(null);
    if (!this.#width) return;
    const { chars, below, seams } = this.#text;
    const isPacked = Boolean(below);
    this.#box = boxIn(this.root, isPacked);
    const columns = Math.max(8, Math.floor(this.#width / this.#box.width));
    // With guesses, a line of its own for each line of the text would be mostly empty.
    this.#layout = new Layout(chars, columns, { isWide: this.#box.isWide, isPacked, seams });
    this.#cut();
    if (top) this.root.scrollTop = this.#topOf(top);
  }

  /** Cuts the lines into strips. */
  #cut() {
    const { height } = this.#box;
    const ink = (name) => this.#colour(name);
    const scene = { layout: this.#layout, box: this.#box, width: this.#width, ink };
    const lines = this.#layout.lines.length;
    const most = Math.max(1, Math.floor(STRIP / height));
    this.root.scrollTop = 0;
    this.#watcher.disconnect();
    this.#stripOf.clear();
    for (let first = 0; first < lines; first += most) {
      const strip = new Strip(scene, first, Math.min(most, lines - first));
      this.#stripOf.set(strip.canvas, strip);
    }
    this.#place.replaceChildren(...this.#stripOf.keys());
    for (const canvas of this.#stripOf.keys()) this.#watcher.observe(canvas);
  }

  #colour(name) {
    if (!this.#colours.has(name)) this.#colours.set(name, colour(name));
    return this.#colours.get(name);
  }

  #recolour() {
    this.#colours.clear();
    for (const strip of this.#stripOf.values()) strip.redraw(this.#text);
  }

  /** Repaints the strips in sight once a frame, however often a slider asks for it. */
  #repaint() {
    if (this.#isRepainting) return;
    this.#isRepainting = true;
    requestAnimationFrame(() => {
      this.#isRepainting = false;
      for (const strip of this.#stripOf.values()) strip.repaint(this.#text);
    });
  }

  // Pointing

  #topOf(index) {
    return this.#layout.place(index).line * this.#box.height;
  }

  /** Marks a character, or none; returns the words about it. */
  #point(index) {
    this.#at = index;
    this.#mark.hidden = index === null;
    const words = this.#pointed(index);
    if (index === null) return words;
    const { column, boxes } = this.#layout.place(index);
    Object.assign(this.#mark.style, {
      left: `${column * this.#box.width}px`,
      top: `${this.#topOf(index)}px`,
      width: `${boxes * this.#box.width}px`,
      height: `${this.#box.row}px`,
    });
    return words;
  }

  #moved({ clientX, clientY }) {
    if (!this.#layout) return;
    const { left, top } = this.#place.getBoundingClientRect();
    const line = Math.floor((clientY - top) / this.#box.height);
    const column = Math.floor((clientX - left) / this.#box.width);
    const index = this.#layout.at(line, column);
    if (index !== this.#at) this.#point(index);
  }

  #pressed(event) {
    if (!this.#layout?.length || event.altKey || event.ctrlKey || event.metaKey) return;
    const to = this.#layout.step(event.key, this.#at);
    if (to === null) return;
    event.preventDefault();
    this.#heard.textContent = `${spoken(this.#text.chars[to])}: ${this.#point(to)}`;
    this.#bringToSight(this.#topOf(to));
  }

  #bringToSight(top) {
    const { scrollTop, clientHeight } = this.root;
    if (top < scrollTop || top + this.#box.height > scrollTop + clientHeight)
      this.root.scrollTop = top - clientHeight / 2;
  }
}

/** The size of a character's box in pixels, and which characters need two. */
function boxIn(element, hasGuesses) {
  const { fontSize, fontFamily: font } = getComputedStyle(element);
  const size = Number.parseFloat(fontSize);
  const context = document.createElement("canvas").getContext("2d");
  context.font = `${size}px ${font}`;
  const unit = context.measureText("m").width;
  const row = Math.round(size * (hasGuesses ? 1.32 : 1.62));
  return {
    font,
    size,
    row,
    width: Math.ceil(unit) + (hasGuesses ? 3 : 1),
    height: hasGuesses ? ROWS * row + 14 : row,
    isWide: (char) => WIDE.test(char) && context.measureText(char).width > 1.4 * unit,
  };
}
