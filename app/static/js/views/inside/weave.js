// The picture of all cells of a layer: a line of pixels for each, from left to right through the
// text. Knows no model.

import { t } from "../../language.js";
import { colour, el } from "../../ui.js";

export class Weave {
  #threads = null;
  #chars = [];

  /** `pointed` and `picked` are called with `{index, char, cell, activation}`. */
  constructor({ pointed, picked }) {
    const told = (tell) => (event) => this.#threads && tell(this.#at(event));
    this.root = el("canvas", {
      class: "weave",
      hidden: true,
      role: "img",
      "aria-label": t("All cells of the layer over the text"),
      on: { pointermove: told(pointed), click: told(picked) },
    });
  }

  /** Draws threads: for each of the first characters an array with each cell's activation. */
  draw(threads, chars) {
    this.#threads = threads;
    this.#chars = chars;
    const columns = threads.length;
    const rows = threads[0].length;
    const height = Math.min(rows * 3, Math.max(rows, columns * 0.55));
    Object.assign(this.root, { width: columns, height: rows });
    this.root.style.aspectRatio = `${columns} / ${height}`;
    const context = this.root.getContext("2d");
    const image = context.createImageData(columns, rows);
    const excited = channels("--excited");
    const quiet = channels("--quiet");
    threads.forEach((activations, x) => {
      activations.forEach((value, y) => {
        const [red, green, blue] = value > 0 ? excited : quiet;
        const alpha = Math.min(255, 215 * Math.abs(value));
        image.data.set([red, green, blue, alpha], 4 * (y * columns + x));
      });
    });
    context.putImageData(image, 0, 0);
  }

  #at({ clientX, clientY }) {
    const { left, top, width, height } = this.root.getBoundingClientRect();
    const index = within(this.root.width, (clientX - left) / width);
    const cell = within(this.root.height, (clientY - top) / height);
    return { index, char: this.#chars[index], cell, activation: this.#threads[index][cell] };
  }
}

/** The pixel at a share of a size; edges may lie between two pixels. */
const within = (size, share) => Math.max(0, Math.min(size - 1, Math.floor(share * size)));

/** A colour's red, green and blue. */
function channels(name) {
  const context = el("canvas", { width: "1", height: "1" }).getContext("2d");
  context.fillStyle = colour(name);
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}
