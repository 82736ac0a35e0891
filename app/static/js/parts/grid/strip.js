// Some lines of a grid on a canvas of their own: coloured characters, and guesses below them.

import { el, glyph } from "../../ui.js";

/** From this probability on, a guess is written in full colour. */
const LIKELY = 0.04;
/** Pixels of the strongest bar. */
const BAR = 4;

export class Strip {
  canvas = el("canvas", { "aria-hidden": "true" });
  #scene;
  #first;
  #count;
  #isDrawn = false;

  /**
   * Lines from `first` on. The scene is what the strips of a grid share: `{layout, box, width,
   * ink}`, where `ink` looks a colour up. Texts are as `Grid.update` takes them.
   */
  constructor(scene, first, count) {
    this.#scene = scene;
    this.#first = first;
    this.#count = count;
    this.canvas.style.height = `${count * scene.box.height}px`;
  }

  draw(text) {
    const { box, width } = this.#scene;
    this.#isDrawn = true;
    const density = Math.min(2, devicePixelRatio || 1);
    this.canvas.width = Math.round(width * density);
    this.canvas.height = Math.round(this.#count * box.height * density);
    const context = this.canvas.getContext("2d");
    context.scale(density, density);
    context.textAlign = "center";
    context.textBaseline = "middle";
    this.#drawText(text);
    if (text.below) this.#drawBelow(text);
  }

  /** Draws again in other colours, guesses too. */
  redraw(text) {
    if (this.#isDrawn) this.draw(text);
  }

  /** Draws the text again; the guesses stay. */
  repaint(text) {
    if (this.#isDrawn) this.#drawText(text);
  }

  /** Frees the pixels. */
  empty() {
    this.#isDrawn = false;
    Object.assign(this.canvas, { width: 0, height: 0 });
  }

  #drawText(text) {
    const { box, ink } = this.#scene;
    const context = this.canvas.getContext("2d");
    context.font = `${box.size}px ${box.font}`;
    for (const { index, x, top, width } of this.#boxes()) {
      context.clearRect(x, top, width, box.row);
      const paint = text.paint(index);
      if (paint) {
        const [name, alpha, side] = paint;
        const filled = text.below ? width - 1 : width;
        fill(context, ink(name), alpha, [x, top, filled, box.row]);
        // Beside the colour, for who does not see it, and on paper.
        const bar = Math.round(alpha * BAR);
        const at = side > 0 ? top + box.row - bar : top;
        if (bar) fill(context, ink(`${name}-bar`), 1, [x, at, filled, bar]);
      }
      const char = text.chars[index];
      if (char === " " && !text.below) continue;
      const isVisible = char.trim();
      context.fillStyle = ink(isVisible ? "--ink" : "--soft");
      context.fillText(isVisible ? char : glyph(char), x + width / 2, top + box.row / 2 + 1);
    }
    this.#drawSeams(text);
  }

  /** A dashed line above each line at which another passage begins. */
  #drawSeams({ seams }) {
    const { layout, box, width, ink } = this.#scene;
    const context = this.canvas.getContext("2d");
    context.strokeStyle = ink("--ink");
    context.setLineDash([5, 4]);
    for (let line = 0; line < this.#count; line++) {
      if (!seams?.has(layout.lines[this.#first + line].start)) continue;
      context.beginPath();
      context.moveTo(0, line * box.height + 0.5);
      context.lineTo(width, line * box.height + 0.5);
      context.stroke();
    }
  }

  #drawBelow(text) {
    const { box, ink } = this.#scene;
    const context = this.canvas.getContext("2d");
    context.font = `${box.size * 0.86}px ${box.font}`;
    for (const { index, x, top, width } of this.#boxes()) {
      text.below(index).forEach(([char, probability, cameTrue], rank) => {
        const y = top + (rank + 1) * box.row;
        const alpha = Math.min(1, probability);
        fill(context, ink("--guess"), alpha, [x, y, width - 1, box.row]);
        context.fillStyle = ink(probability > LIKELY ? "--ink" : "--soft");
        // A guess that is wider than the character above it is condensed, not drawn over others.
        context.fillText(glyph(char), x + width / 2, y + box.row / 2 + 1, width);
        if (cameTrue) context.fillRect(x + 1, y + box.row - 2, width - 3, 2);
      });
    }
  }

  /** The characters of the strip with their places in it, in pixels. */
  *#boxes() {
    const { layout, box } = this.#scene;
    for (let line = 0; line < this.#count; line++) {
      const { start, columns, end } = layout.lines[this.#first + line];
      for (const [i, column] of columns.entries()) {
        const boxes = (columns[i + 1] ?? end) - column;
        yield {
          index: start + i,
          x: column * box.width,
          top: line * box.height,
          width: boxes * box.width,
        };
      }
    }
  }
}

function fill(context, colour, alpha, rectangle) {
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.fillRect(...rectangle);
  context.globalAlpha = 1;
}
