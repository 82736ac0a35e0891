// The passage on the screen: lines of large characters, each line with the cell's curve, the truth
// and the misses below it. Knows no time.

import { t } from "../../../language.js";
import { Layout } from "../../../parts/grid/layout.js";
import { el, glyph, svg, told } from "../../../ui.js";
import { columnsFor } from "./fitting.js";

// In units of an SVG: a character is 10 wide.
const WIDTH = 10;
const TEXT = 19;
const CURVE = { top: 21, height: 16 };
const TRUTH = { top: 38.5, height: 3.5 };
const LINE = 50;
/** Thickest bar. */
const BAR = 2.5;

/** Letters up to here are narrow in any font. */
const NARROW = /^[\0-\u0fff]*$/;
/** How much wider than a letter a character is that takes two places. */
const WIDE = 1.4;

export class Stage {
  root = el("div", {
    class: "stage",
    tabindex: "0",
    role: "group",
    "aria-label": t("The passage, the cell's value and the truth"),
    "aria-description": t(
      "Space plays and pauses, left and right arrows go through the characters, up and down arrows through the examples",
    ),
  });
  #shown = null;
  #layout = null;
  #lines = [];
  #boxes = [];

  set busy(isBusy) {
    if (isBusy) this.root.setAttribute("aria-busy", "true");
    else this.root.removeAttribute("aria-busy");
  }

  say(text) {
    this.busy = false;
    this.#shown = null;
    this.root.replaceChildren(el("p", { class: "message problem" }, ...told(text)));
  }

  /** Lays a passage out, as large as the stage allows: `{chars, values, truth, verdicts, tracked}`. */
  lay(shown) {
    const { clientWidth, clientHeight } = this.root;
    if (!clientWidth) return;
    this.#shown = shown;
    const isWide = widths();
    const options = (isPacked) => ({ isWide, isPacked });
    const layout = (columns, isPacked) => new Layout(shown.chars, columns, options(isPacked));
    const room = { width: clientWidth, height: clientHeight, unit: WIDTH, line: LINE };
    const { columns, isPacked } = columnsFor(layout, room);
    this.#layout = layout(columns, isPacked);
    this.#boxes = [];
    this.#lines = this.#layout.lines.map((_, line) => this.#line(line, columns));
    this.root.replaceChildren(...this.#lines.map(({ root }) => root));
  }

  /** Shows the passage up to a character, which is marked. */
  play(at) {
    if (!this.#layout || at < 0) return;
    const current = this.#layout.place(at).line;
    this.#boxes.forEach((box, i) => {
      box.classList.toggle("ahead", i > at);
      box.classList.toggle("now", i === at);
    });
    this.#lines.forEach((line, i) => {
      if (i > current) line.draw(-1);
      else line.draw(i < current ? Number.POSITIVE_INFINITY : at);
    });
    const { root } = this.#lines[current];
    if (this.root.scrollHeight > this.root.clientHeight + 1)
      this.root.scrollTop = root.offsetTop - this.root.offsetTop - this.root.clientHeight / 3;
  }

  #line(number, columns) {
    const { start, columns: places } = this.#layout.lines[number];
    const indices = places.map((_, i) => start + i);
    const curve = svg("polyline", { class: "value" });
    const root = svg("svg", {
      viewBox: `0 0 ${columns * WIDTH} ${LINE}`,
      class: "staff",
      "aria-hidden": "true",
    });
    root.append(...this.#scale(columns));
    for (const index of indices) {
      const box = this.#box(index);
      this.#boxes[index] = box;
      root.append(box);
    }
    if (this.#isNumbers) root.append(this.#truthCurve(indices));
    root.append(curve);
    const draw = (at) => curve.setAttribute("points", this.#points(indices, at));
    return { root, draw };
  }

  get #isNumbers() {
    return this.#shown.tracked?.metric === "correlation";
  }

  /** The zero line, and the threshold if there is one. */
  #scale(columns) {
    const { threshold } = this.#shown.tracked ?? {};
    const at = (value, name) => {
      const y = height(value);
      return svg("line", { x1: 0, x2: columns * WIDTH, y1: y, y2: y, class: name });
    };
    return [at(0, "zero"), ...(Number.isFinite(threshold) ? [at(threshold, "threshold")] : [])];
  }

  /** A character with its colour, its bar, the truth below it, and a cross if it is a miss. */
  #box(index) {
    const { chars, values, truth, verdicts } = this.#shown;
    const { column, boxes } = this.#layout.place(index);
    const x = column * WIDTH;
    const width = boxes * WIDTH;
    const value = values[index];
    const name = value > 0 ? "excited" : "quiet";
    const strength = Math.min(1, Math.abs(value));
    const bar = strength * BAR;
    const fill = { x, y: 0, width, height: TEXT, class: `fill ${name}`, "fill-opacity": strength };
    const strip = { x, y: value > 0 ? TEXT - bar : 0, width, height: bar };
    const isVisible = chars[index].trim();
    const letter = {
      x: x + width / 2,
      y: TEXT * 0.72,
      class: isVisible ? "letter" : "letter soft",
    };
    const box = svg("g", { class: "character" });
    box.append(
      svg("rect", fill),
      svg("rect", { ...strip, class: `strength ${name}` }),
      svg("text", letter, glyph(chars[index])),
    );
    if (truth[index] && !this.#isNumbers)
      box.append(svg("rect", { x, y: TRUTH.top, width, height: TRUTH.height, class: "truth" }));
    if (verdicts[index] === false)
      box.append(svg("text", { x: x + width / 2, y: LINE - 1, class: "miss" }, "✗"));
    return box;
  }

  /** Numbers as a curve of their own, over the whole height. */
  #truthCurve(indices) {
    const { truth, tracked } = this.#shown;
    const known = truth.filter((value) => value !== null);
    const least = Math.min(...known);
    const span = Math.max(...known) - least || 1;
    const scaled = (i) => tracked.sign * ((2 * (truth[i] - least)) / span - 1);
    const points = indices
      .filter((i) => truth[i] !== null)
      .map((i) => `${this.#middle(i)},${height(scaled(i))}`);
    return svg("polyline", { class: "true-curve", points: points.join(" ") });
  }

  #points(indices, at) {
    const { values } = this.#shown;
    return indices
      .filter((i) => i <= at)
      .map((i) => `${this.#middle(i)},${height(values[i])}`)
      .join(" ");
  }

  #middle(index) {
    const { column, boxes } = this.#layout.place(index);
    return (column + boxes / 2) * WIDTH;
  }
}

/** Tells which characters take two places: measured, as some are wide in some fonts only. */
function widths() {
  const context = document.createElement("canvas").getContext("2d");
  const style = getComputedStyle(document.documentElement);
  context.font = `16px ${style.getPropertyValue("--mono")}`;
  const widest = WIDE * context.measureText("m").width;
  const known = new Map();
  return (char) => {
    if (NARROW.test(char)) return false;
    if (!known.has(char)) known.set(char, context.measureText(char).width > widest);
    return known.get(char);
  };
}

/** Where a value from −1 to 1 is in a line. */
const height = (value) => CURVE.top + ((1 - value) / 2) * CURVE.height;
