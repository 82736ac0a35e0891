// A text as a model reads it: its characters, the guesses, and the activations of cells. Asks the
// server for cells in blocks and keeps them. Knows no element.

import { Latest, post } from "../../api.js";
import { MAX_ACTIVATIONS } from "../../limits.js";

/** Cells asked for at once: reading a text costs the server more than reporting on cells. */
const BLOCK = 64;
const GUESSES = 5;
/** Characters of the picture of all cells. */
const WOVEN = 480;

export const pathOf = (model) => `/models/${encodeURIComponent(model.model)}`;

const key = ({ layer, cell }) => `${layer}:${cell}`;

/** Whether a block, the numbers of some cells of a layer, has a cell. */
export const covers = (block, { layer, cell }) =>
  block.layer === layer && block.cells.includes(cell);

export class Reading {
  #model;
  #text;
  #offeredIn;
  #stretches;
  #activations = new Map();
  #threads = new Map();
  #loading = new Latest();
  #block = null;

  /** Use `Reading.open`. */
  constructor(model, text, { offeredIn, stretches }) {
    this.#model = model;
    this.#text = text;
    this.#offeredIn = offeredIn;
    this.#stretches = stretches;
  }

  /**
   * Has a text read.
   *
   * The first block of cells is the one around `cell`. `offeredIn` gives the numbers of a layer's
   * cells that are a click away. `stretches` are activations to show in place of the model's.
   */
  static async open(model, text, { cell, offeredIn, stretches = [], signal }) {
    const reading = new Reading(model, text, { offeredIn, stretches });
    const block = reading.#around(cell);
    const answer = await reading.#inspect({ top: GUESSES, ...block }, signal);
    reading.characters = answer.characters;
    reading.chars = answer.characters.map(({ char }) => char);
    reading.bpc = answer.bpc;
    reading.unknown = answer.unknown;
    // Omitted characters would shift the stretches.
    if (answer.unknown) reading.#stretches = [];
    reading.#keep(block, answer);
    return reading;
  }

  /** A cell's activation at each character, if it is here. */
  activations(cell) {
    return this.#activations.get(key(cell));
  }

  /** Whether a cell is neither here nor on its way. */
  lacks(cell) {
    return !this.#activations.has(key(cell)) && !(this.#block && covers(this.#block, cell));
  }

  /** Gets a cell and those around it, in place of any that are on their way. */
  async load(cell) {
    const signal = this.#loading.begin();
    const block = this.#around(cell);
    this.#block = block;
    try {
      await this.#fill(block, signal);
    } finally {
      if (this.#block === block) this.#block = null;
    }
  }

  /** Gets the cells of all layers that are a click away; yields each block that has come. */
  async *ahead(signal) {
    for (let layer = 0; layer < this.#model.config.num_layers; layer++) {
      const block = this.#missing(layer, this.#offeredIn(layer));
      if (!block.cells.length) continue;
      await this.#fill(block, signal);
      yield block;
    }
  }

  /** Whether the threads of a layer are here or on their way. */
  hasThreads(layer) {
    return this.#threads.has(layer);
  }

  /** All cells' activations at each of the first characters. */
  threads(layer) {
    if (!this.#threads.has(layer)) {
      const threads = this.#weave(layer);
      threads.catch(() => this.#threads.delete(layer));
      this.#threads.set(layer, threads);
    }
    return this.#threads.get(layer);
  }

  async #weave(layer) {
    const { hidden_size: size } = this.#model.config;
    const cells = Array.from({ length: size }, (_, cell) => cell);
    const most = Math.min(WOVEN, Math.floor(MAX_ACTIVATIONS / size));
    const text = this.chars.slice(0, most).join("");
    const { characters } = await this.#inspect({ text, top: 0, layer, cells });
    return characters.map(({ activations }) => activations);
  }

  /** The index of the character where an excerpt begins; -1 if the text does not have it. */
  find(excerpt) {
    const text = this.chars.join("");
    const at = text.indexOf(excerpt);
    return at < 0 ? at : [...text.slice(0, at)].length;
  }

  /** Ends what is on its way. */
  close() {
    this.#loading.abort();
  }

  #inspect(fields, signal) {
    return post(
      `${pathOf(this.#model)}/inspect`,
      { text: this.#text, unknown: "skip", ...fields },
      { signal },
    );
  }

  async #fill(block, signal) {
    this.#keep(block, await this.#inspect({ top: 0, ...block }, signal));
  }

  /** A cell, its neighbours, and the cells of its layer that are a click away. */
  #around({ layer, cell }) {
    const first = cell - (cell % BLOCK);
    const length = Math.min(BLOCK, this.#model.config.hidden_size - first);
    const neighbours = Array.from({ length }, (_, i) => first + i);
    return this.#missing(layer, [...neighbours, ...this.#offeredIn(layer)]);
  }

  /** Those of a layer's cells that are not here, no more than one response holds. */
  #missing(layer, numbers) {
    const cells = [...new Set(numbers)]
      .filter((cell) => !this.#activations.has(key({ layer, cell })))
      .slice(0, Math.floor(MAX_ACTIVATIONS / this.#text.length));
    return { layer, cells };
  }

  #keep({ layer, cells }, { characters }) {
    cells.forEach((cell, i) => {
      const values = Float32Array.from(characters, ({ activations }) => activations[i]);
      this.#activations.set(key({ layer, cell }), values);
    });
    for (const stretch of this.#stretches)
      if (covers({ layer, cells }, stretch))
        this.activations(stretch).set(stretch.values, stretch.start);
  }
}

/** Has the model write a text: the same for the same seed, and long enough to scroll. */
export async function generate(model, seed, signal) {
  const fields = { model: model.model, length: 2000, temperature: 0.8, seed };
  const { text } = await post("/sample", fields, { signal });
  return text;
}
