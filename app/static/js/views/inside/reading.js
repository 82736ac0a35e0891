// A text as a model reads it: its characters, the guesses, and the activations of cells. Asks the
// server for cells in blocks and keeps them. Knows no element.

import { Latest, post } from "../../api.js";
import { MAX_ACTIVATIONS } from "../../limits.js";
import { spansOf } from "../../parts/sheet/units.js";

/** Cells asked for at once: reading a text costs the server more than reporting on cells. */
const BLOCK = 64;
const GUESSES = 5;
/** Significant digits of figures: the pictures and the readout show no more. */
const DIGITS = 4;
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
  #wish;
  #activations = new Map();
  #truths = new Map();
  #threads = new Map();
  #loading = new Latest();
  #block = null;

  /** Use `Reading.open`. */
  constructor(model, text, wish) {
    this.#model = model;
    this.#text = text;
    this.#wish = wish;
  }

  /**
   * Has a text read.
   *
   * @param {{cell: object, offeredIn?: (layer: number) => number[], hypothesis?: string,
   *   seams?: number[], style?: string, top?: number, signal?: AbortSignal}} wish
   *   The first answer, which is small, has `cell` and what `hypothesis` says of each character;
   *   `offeredIn` gives the numbers of a layer's cells that are a click away. The network begins
   *   anew at `seams`, and reads in a `style`.
   */
  static async open(model, text, wish) {
    const reading = new Reading(model, text, { offeredIn: () => [], seams: [], ...wish });
    const { cell, hypothesis, top = GUESSES, signal } = wish;
    const block = { layer: cell.layer, cells: [cell.cell] };
    const answer = await reading.#inspect({ top, hypothesis, ...block }, signal);
    reading.characters = answer.characters;
    reading.chars = answer.characters.map(({ char }) => char);
    reading.seams = new Set(answer.seams);
    reading.bpc = answer.bpc;
    reading.unknown = answer.unknown;
    reading.#keep(block, answer);
    reading.#keepTruth(hypothesis, answer);
    return reading;
  }

  /** A cell's activation at each character, if it is here. */
  activations(cell) {
    return this.#activations.get(key(cell));
  }

  /** What a hypothesis says of each character, if that is here; null where it says nothing. */
  truth(hypothesis) {
    return this.#truths.get(hypothesis);
  }

  /** Whether a cell is neither here nor on its way, or what it is held against is not here. */
  lacks(cell, hypothesis) {
    const isHere = this.#activations.has(key(cell));
    const isComing = this.#block && covers(this.#block, cell);
    return (!isHere && !isComing) || Boolean(hypothesis && !this.#truths.has(hypothesis));
  }

  /** Gets a cell and those around it, in place of any that are on their way. */
  async load(cell, hypothesis) {
    const signal = this.#loading.begin();
    const block = this.#around(cell);
    this.#block = block;
    try {
      await this.#fill(block, signal, hypothesis);
    } finally {
      if (this.#block === block) this.#block = null;
    }
  }

  /** Gets the cells of all layers that are a click away; yields each block that has come. */
  async *ahead(signal) {
    for (let layer = 0; layer < this.#model.config.num_layers; layer++) {
      const block = this.#missing(layer, this.#wish.offeredIn(layer));
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
    const seams = [...this.seams]
      .filter((seam) => seam < most)
      .map((seam) => [...this.chars.slice(0, seam).join("")].length);
    const { characters } = await this.#inspect({ text, seams, top: 0, layer, cells });
    return characters.map(({ activations }) => activations);
  }

  /** Ends what is on its way. */
  close() {
    this.#loading.abort();
  }

  async #inspect(fields, signal) {
    const { seams, style } = this.#wish;
    const common = { text: this.#text, seams, style: style || undefined };
    const answer = await post(
      `${pathOf(this.#model)}/inspect`,
      { ...common, unknown: "skip", digits: DIGITS, ...fields },
      { signal },
    );
    return inUnits(answer);
  }

  async #fill(block, signal, hypothesis) {
    const answer = await this.#inspect({ top: 0, hypothesis, ...block }, signal);
    this.#keep(block, answer);
    this.#keepTruth(hypothesis, answer);
  }

  #keepTruth(hypothesis, { characters }) {
    if (hypothesis)
      this.#truths.set(
        hypothesis,
        characters.map(({ truth }) => truth),
      );
  }

  /** A cell, its neighbours, and the cells of its layer that are a click away. */
  #around({ layer, cell }) {
    const first = cell - (cell % BLOCK);
    const length = Math.min(BLOCK, this.#model.config.hidden_size - first);
    const neighbours = Array.from({ length }, (_, i) => first + i);
    return this.#missing(layer, [...neighbours, ...this.#wish.offeredIn(layer)]);
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
  }
}

/**
 * An answer with an entry for each unit of the text rather than for each of the network's
 * characters: an emoji of several has their joint probability, and all else as after the last.
 */
export function inUnits({ characters, seams, ...rest }) {
  const spans = spansOf(characters.map(({ char }) => char));
  if (spans.length === characters.length) return { characters, seams, ...rest };
  return {
    ...rest,
    characters: spans.map(([begin, end]) => asOne(characters.slice(begin, end))),
    seams: seams.map((seam) => spans.findIndex(([, end]) => end > seam)),
  };
}

function asOne(parts) {
  if (parts.length === 1) return parts[0];
  return {
    ...parts.at(-1),
    char: parts.map(({ char }) => char).join(""),
    probability: parts.reduce((product, one) => product * one.probability, 1),
    loss: parts.reduce((sum, one) => sum + one.loss, 0),
  };
}

/** Has the model write a text: the same for the same seed, and long enough to scroll. */
export async function generate(model, seed, style, signal) {
  const fields = { model: model.model, length: 2000, temperature: 0.8, seed };
  if (style) fields.style = style;
  const { text } = await post("/sample", fields, { signal });
  return text;
}
